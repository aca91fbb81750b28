"""Sentences to input_ids, by the artifact's own tokenizer.json.

A text longer than the context is not cut off: its tokens are split into parts that fit, at the last sentence end that
fits, else at the last space, else where the context ends. The engine embeds such a text as the mean of its parts'
embeddings, weighted by their tokens and brought back to unit norm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers

from clipshelf.errors import ArtifactError
from clipshelf.model.artifact import TextSpec
from clipshelf.types import TokenIds

# Closing quotes and brackets belong to the sentence; the full-width marks of Chinese and Japanese need no space. A run
# of marks is tried from its start only, so that a text without spaces takes linear time.
_SENTENCE_END = re.compile("(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\\]]*+\\s+|[\u3002\uff01\uff1f]+|\n+")
_SPACE = re.compile(r"\s+")
# `Tokenizer.encode` holds the interpreter's lock, so that it is given this many characters at once. `encode_batch` does
# not, but starts threads of its own, which a forked child lacks.
_PIECE_LENGTH = 4096


class _Piece(NamedTuple):
    """The tokens of a piece of text.

    - `head`, `tail`: the special tokens before and after it.
    - `body`: its own tokens (L,).
    - `starts`: where each of them starts in the whole text (L,).
    """

    head: TokenIds
    body: TokenIds
    tail: TokenIds
    starts: TokenIds


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
        return [self._encode_text(text) for text in texts]

    def _encode_text(self, text: str) -> list[TokenIds]:
        if len(text) <= _PIECE_LENGTH:
            encoding = self._tokenizer.encode(text)
            if len(encoding.ids) <= self._context:
                return [np.array(encoding.ids, np.int64)]
        encoded = (self._encode_piece(text[start:stop], start) for start, stop in _pieces(text))
        pieces = [piece for piece in encoded if len(piece.body)]
        if not pieces:  # spaces only
            return self._encode_text("")
        head, tail = pieces[0].head, pieces[0].tail
        body = np.concatenate([piece.body for piece in pieces])
        starts = np.concatenate([piece.starts for piece in pieces])
        room = self._context - len(head) - len(tail)
        return [np.concatenate((head, body[begin:stop], tail)) for begin, stop in _cuts(text, starts, room)]

    def _encode_piece(self, text: str, start: int) -> _Piece:
        """Encode a piece that starts at `start` in the whole text."""
        encoding = self._tokenizer.encode(text)
        ids = np.array(encoding.ids, np.int64)
        own = [position for position, special in enumerate(encoding.special_tokens_mask) if not special]
        first, end = (own[0], own[-1] + 1) if own else (0, 0)
        starts = np.array([begin for begin, _ in encoding.offsets[first:end]], np.int64) + start
        return _Piece(ids[:first], ids[first:end], ids[end:], starts)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Ranges that make up a text, each of at most `_PIECE_LENGTH` characters, cut before a space where there is one.

    A tokenizer encodes them as it encodes the whole: none joins a space with what stands before it.
    """
    start = 0
    while len(text) - start > _PIECE_LENGTH:
        stop = start + _PIECE_LENGTH
        space = max(text.rfind(character, start + _PIECE_LENGTH // 2, stop) for character in " \n\t")
        stop = space if space > 0 else stop
        yield start, stop
        start = stop
    yield start, len(text)


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
            fitting = int(np.searchsorted(cuts, begin + room, side="right"))  # cuts that fit, those before `begin` too
            if fitting and cuts[fitting - 1] > begin:
                end = int(cuts[fitting - 1])
                break
        yield begin, end
        begin = end
    yield begin, len(starts)
