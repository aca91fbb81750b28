"""Sentences to input_ids, by the artifact's own tokenizer.json.

A text longer than the context is not cut off: its tokens are split into parts that fit, at the last sentence end that
fits, else at the last space, else where the context ends. The engine embeds such a text as the mean of its parts'
embeddings, weighted by their tokens and brought back to unit norm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers

from clipshelf.errors import ArtifactError
from clipshelf.model.artifact import TextSpec
from clipshelf.types import TokenIds

# closing quotes and brackets belong to the sentence; the full-width marks of Chinese and Japanese need no space
_SENTENCE_END = re.compile("[.!?\u2026]+[\"'\u201d\u2019)\\]]*\\s+|[\u3002\uff01\uff1f]+|\n+")
_SPACE = re.compile(r"\s+")


class Tokenizer:
    """Turns texts to token ids that fit the context of the text tower.

    - `path`: the `tokenizers` file of the artifact.
    - `spec`: its limits.

    Raises ArtifactError where the file is no `tokenizers` file.
    """

    def __init__(self, path: Path, spec: TextSpec) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises Exception itself
            raise ArtifactError(f"{path}: expected a tokenizers file, found: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._context = spec.max_tokens

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """The first part (L,) of each text; see `encode_parts`."""
        return [parts[0] for parts in self.encode_parts(texts)]

    def encode_parts(self, texts: Sequence[str]) -> list[list[TokenIds]]:
        """The parts of each text, one unless it is longer than the context.

        A part is an (L,) int64 array no longer than the context, with special tokens and without padding.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        return [
            [np.array(encoding.ids, np.int64)] if len(encoding.ids) <= self._context else self._split(text, encoding)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _split(self, text: str, encoding: tokenizers.Encoding) -> list[TokenIds]:
        """Parts of a long text, each between the special tokens that the whole text has."""
        text_tokens = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        first, end = text_tokens[0], text_tokens[-1] + 1
        ids = np.array(encoding.ids, np.int64)
        head, body, tail = ids[:first], ids[first:end], ids[end:]
        starts = np.array([start for start, _ in encoding.offsets[first:end]])
        room = self._context - len(head) - len(tail)
        return [np.concatenate((head, body[begin:stop], tail)) for begin, stop in _cuts(text, starts, room)]


def _cuts(text: str, starts: TokenIds, room: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `room` tokens, given the position in `text` at which each token starts (L,)."""
    # positions of the first tokens after each sentence end, and after each space
    sentences, words = (
        np.searchsorted(starts, [match.end() for match in pattern.finditer(text)])
        for pattern in (_SENTENCE_END, _SPACE)
    )
    begin = 0
    while len(starts) - begin > room:
        end = begin + room
        for cuts in (sentences, words):
            fitting = cuts[(cuts > begin) & (cuts <= begin + room)]
            if len(fitting):
                end = int(fitting[-1])
                break
        yield begin, end
        begin = end
    yield begin, len(starts)
