"""Sentences to input_ids, by the artifact's own tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from clipshelf.artifact import TextSpec
from clipshelf.errors import ArtifactError
from clipshelf.types import TokenIds


class Tokenizer:
    """The `tokenizers` file of an artifact, cut to the context of its text tower."""

    def __init__(self, path: Path, spec: TextSpec) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"{path}: expected a tokenizers file, found: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(spec.max_tokens)

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """One (L,) int64 array per text, special tokens included, unpadded."""
        return [np.array(encoding.ids, dtype=np.int64) for encoding in self._tokenizer.encode_batch(list(texts))]
