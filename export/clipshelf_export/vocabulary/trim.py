"""Trim the vocabulary of a checkpoint: fewer rows in its table of tokens, and a tokenizer that knows no others.

Large tables belong to models of many languages: 256,000 rows of 768 numbers in SigLIP 2. A text whose pieces are kept
is split as before, and its pieces have the same rows, so its fp32 embedding is the same. Any other text is split into
the pieces that are left, or into bytes or unknown pieces, as the tokenizer does with a word that it does not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.model.artifact import TextSpec
from clipshelf.types import FloatArray, Pixels, TokenIds
from tokenizers import Tokenizer

from clipshelf_export.checkpoints.towers import (
    Checkpoint,
    OnnxTower,
    Padding,
    ReferenceModel,
    TokenEmbedding,
    Tower,
    Transformer,
)
from clipshelf_export.measure.end_to_end import TEXTS
from clipshelf_export.measure.samples import read_texts
from clipshelf_export.vocabulary.languages import Alphabet
from clipshelf_export.vocabulary.onnx_table import token_input, trim_onnx_tower
from clipshelf_export.vocabulary.tokenizer_file import choose_ids, is_equal, prove_equal, trim_file

# A text without letters, which every alphabet has.
NUMBERS = "2024: 100% (42)"
# Texts of the user that are compared with the library too.
MAX_PROBES = 8


@dataclass(frozen=True)
class VocabularyOptions:
    """What a trimmed vocabulary must express; the whole vocabulary is kept where both are empty.

    - `texts`: a file with a text per line, whose pieces are kept.
    - `languages`: codes of ISO 639-1; all pieces in their letters are kept.
    """

    texts: Path | None = None
    languages: Sequence[str] = ()


class TrimmedReference:
    """A model that reads the ids of a trimmed vocabulary; a `ReferenceModel`.

    - `reference`: the model with the whole vocabulary.
    - `kept`: the old id of each new one (K,).
    """

    def __init__(self, reference: ReferenceModel, kept: TokenIds) -> None:
        self._reference, self._kept = reference, kept

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        return self._reference.embed_images(pixels)

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of `input_ids` (B, L) with `mask` (B, L)."""
        return self._reference.embed_texts(self._kept[input_ids], mask)

    def in_double(self) -> TrimmedReference | None:
        """Return a copy that computes in fp64, or None where the model has none."""
        double = self._reference.in_double()
        return None if double is None else TrimmedReference(double, self._kept)


def trim_vocabulary(checkpoint: Checkpoint, options: VocabularyOptions) -> Checkpoint:
    """Return a checkpoint with the pieces that `options` ask for, or `checkpoint` itself where they ask for none.

    The source in the manifest gets a record `vocabulary`: the pieces that are kept, of how many, and what they express.
    Raises ExportError for a file that cannot be read, for an unknown language, for a tokenizer or a text tower that
    cannot be trimmed, and where a text would be split in another way.
    """
    if options.texts is None and not options.languages:
        return checkpoint
    alphabet = Alphabet(options.languages)
    texts = [] if options.texts is None else read_texts(options.texts, "--vocabulary-texts")
    content = json.loads(checkpoint.tokenizer_json)
    original = Tokenizer.from_str(checkpoint.tokenizer_json)
    kept = choose_ids(content, original, texts, alphabet, _required_ids(checkpoint))
    tokenizer_json = json.dumps(trim_file(content, kept), ensure_ascii=False)
    trimmed = Tokenizer.from_str(tokenizer_json)
    covered = [text for text in (NUMBERS, *TEXTS) if alphabet.has(_normalised(original, text))]
    prove_equal(original, trimmed, kept, [*texts, *covered])
    probes = [text for text in (*TEXTS, *texts[:MAX_PROBES], NUMBERS) if is_equal(original, trimmed, kept, text)]
    tower, before = _trim_tower(checkpoint.text, kept)
    record: dict[str, Any] = {"pieces": len(kept), "of": before, "languages": list(alphabet.languages)}
    if options.texts is not None:
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        record |= {"texts": len(texts), "texts_from": options.texts.name, "texts_sha256": digest}
    return replace(
        checkpoint,
        source={**checkpoint.source, "vocabulary": record},
        text_spec=_trim_spec(checkpoint.text_spec, kept),
        text=tower,
        tokenizer_json=tokenizer_json,
        reference=TrimmedReference(checkpoint.reference, kept),
        probes=probes,
    )


def _normalised(tokenizer: Tokenizer, text: str) -> str:
    """Return a text as the tokenizer reads it."""
    return text if tokenizer.normalizer is None else str(tokenizer.normalizer.normalize_str(text))


def _required_ids(checkpoint: Checkpoint) -> set[int]:
    """Return the ids that the limits and the text tower name."""
    spec, tower = checkpoint.text_spec, checkpoint.text
    ids = {spec.pad_id, spec.bos_id, spec.eos_id}
    padding: Padding | None = None
    if isinstance(tower, Transformer) and isinstance(tower.embedding, TokenEmbedding):
        padding = tower.embedding.padding
        ids |= {tower.eos_id} if tower.pooling == "eos" else set()
    elif isinstance(tower, OnnxTower):
        padding = token_input(tower).padding
    return ids if padding is None else ids | {padding.pad_id}


def _trim_spec(spec: TextSpec, kept: TokenIds) -> TextSpec:
    pad, bos, eos = (int(np.searchsorted(kept, id_)) for id_ in (spec.pad_id, spec.bos_id, spec.eos_id))
    return replace(spec, pad_id=pad, bos_id=bos, eos_id=eos)


def _trim_tower(tower: Tower, kept: TokenIds) -> tuple[Tower, int]:
    """Return a text tower that reads the new ids, and the number of rows that its table had."""
    if isinstance(tower, OnnxTower):
        return trim_onnx_tower(tower, kept)
    if not isinstance(tower, Transformer) or not isinstance(tower.embedding, TokenEmbedding):
        raise ExportError(f"vocabulary: expected a text tower with a table of tokens, found {type(tower).__name__}")
    embedding = tower.embedding
    padding = embedding.padding
    if padding is not None:
        padding = replace(padding, pad_id=int(np.searchsorted(kept, padding.pad_id)))
    eos_id = int(np.searchsorted(kept, tower.eos_id)) if tower.pooling == "eos" else tower.eos_id
    rows = np.ascontiguousarray(embedding.tokens[kept])
    trimmed = replace(tower, embedding=replace(embedding, tokens=rows, padding=padding), eos_id=eos_id)
    return trimmed, len(embedding.tokens)
