"""The pieces of a tokenizer's model: which of them a text needs, and the model without the others.

Letters: a *piece* is an entry of the vocabulary; a *merge* of BPE joins two pieces to a third.

Why a kept text is split as before, by the kind of model:

- Unigram takes the split with the largest sum of scores. The pieces of the best split are kept, and no split becomes
  better when others go. The piece with the least score is kept too, since it sets the score of unknown characters.
- WordPiece takes the longest piece that fits at each position. It is kept, and a longer one did not exist.
- BPE applies the first merge of its list that fits, again and again. All merges that lead to a kept piece are kept, so
  the first one that fits stays the same.

An alphabet keeps each piece that is written with its characters, and so every candidate for a text in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clipshelf.errors import ExportError
from tokenizers.pre_tokenizers import ByteLevel

SPACE = "\u2581"  # SentencePiece's mark of a space


def byte_letters() -> dict[str, int]:
    """Return the byte for each letter with which a byte-level tokenizer writes it.

    https://github.com/openai/gpt-2/blob/master/src/encoder.py (bytes_to_unicode)
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (byte for byte in range(256) if byte not in plain)
    letters = {chr(byte): byte for byte in plain}
    letters |= {chr(256 + index): byte for index, byte in enumerate(others)}
    if letters.keys() != set(ByteLevel.alphabet()):
        raise ExportError("expected the byte alphabet of GPT-2, found another in the package tokenizers")
    return letters


class Pieces:
    """The vocabulary of a tokenizer.

    - `content`: of tokenizer.json.

    Raises ExportError where its model is neither Unigram, nor BPE, nor WordPiece.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._model = content["model"]
        self.kind = str(self._model.get("type") or _kind_of(self._model))
        if self.kind not in ("Unigram", "BPE", "WordPiece"):
            raise ExportError(f"vocabulary: expected a tokenizer of Unigram, BPE or WordPiece, found {self.kind}")
        vocabulary = self._model["vocab"]
        if self.kind == "Unigram":
            vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
        self.ids: dict[str, int] = dict(vocabulary)
        parts = json.dumps([content.get("pre_tokenizer"), content.get("decoder")])
        self._bytes = byte_letters() if '"ByteLevel"' in parts else {}

    def always_kept(self) -> set[int]:
        """Return the ids that every trimmed vocabulary has: unknown pieces, bytes, and Unigram's least score."""
        kept = {self.ids[piece] for piece in self.ids if self._is_byte(piece)}
        if self.kind == "Unigram":
            scores = [score for _, score in self._model["vocab"]]
            kept.add(scores.index(min(scores)))
            unknown = self._model.get("unk_id")
        else:
            unknown = self.ids.get(self._model.get("unk_token"))
        return kept if unknown is None else kept | {unknown}

    def with_parts(self, kept: set[int]) -> set[int]:
        """Return `kept` with the pieces from which it is made: of BPE, all whose merges lead to one of them."""
        if self.kind != "BPE":
            return kept | self._characters(kept)
        sources: dict[str, list[tuple[str, str]]] = {}
        for left, right, made in self._merges():
            sources.setdefault(made, []).append((left, right))
        names = {index: piece for piece, index in self.ids.items()}
        complete, waiting = set(kept), [names[index] for index in kept if index in names]
        while waiting:
            for pair in sources.get(waiting.pop(), ()):
                for piece in pair:
                    if self.ids[piece] not in complete:
                        complete.add(self.ids[piece])
                        waiting.append(piece)
        return complete

    def written(self, piece: str) -> str | None:
        """Return the characters of a text that a piece stands for; None where it is a part of a character."""
        piece = piece.removesuffix(self._model.get("end_of_word_suffix") or "")
        piece = piece.removeprefix(self._model.get("continuing_subword_prefix") or "")
        if not self._bytes:
            return piece.replace(SPACE, " ")
        if not set(piece) <= self._bytes.keys():
            return piece  # a special token
        try:
            return bytes(self._bytes[letter] for letter in piece).decode()
        except UnicodeDecodeError:
            return None

    def trimmed_model(self, new_ids: Mapping[int, int]) -> dict[str, Any]:
        """Return the model with the pieces of `new_ids` (their old ids) alone, by their new ids."""
        model = dict(self._model)
        if self.kind == "Unigram":
            model["vocab"] = [entry for index, entry in enumerate(model["vocab"]) if index in new_ids]
            if model.get("unk_id") is not None:
                model["unk_id"] = new_ids[model["unk_id"]]
            return model
        model["vocab"] = {piece: new_ids[index] for piece, index in self.ids.items() if index in new_ids}
        if self.kind == "BPE":
            kept = model["vocab"].keys()
            joined = ({left, right, made} <= kept for left, right, made in self._merges())
            model["merges"] = [merge for merge, keep in zip(model["merges"], joined, strict=True) if keep]
        return model

    def _is_byte(self, piece: str) -> bool:
        """Tell whether a piece is one byte of a text, so that anything can be written with such pieces."""
        if self._bytes:
            return piece.removesuffix(self._model.get("end_of_word_suffix") or "") in self._bytes
        return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")

    def _characters(self, kept: set[int]) -> set[int]:
        """Return the pieces of one character that are in a kept piece, from which its words can be spelt."""
        prefix = self._model.get("continuing_subword_prefix") or ""
        names = {index: piece for piece, index in self.ids.items()}
        characters = {character for index in kept for character in names.get(index, "").removeprefix(prefix)}
        spelt = {form for character in characters for form in (character, prefix + character)}
        return {self.ids[piece] for piece in spelt if piece in self.ids}

    def _merges(self) -> Iterator[tuple[str, str, str]]:
        """Yield both parts and the result of each merge, which a file holds as a pair or as one string."""
        prefix = len(self._model.get("continuing_subword_prefix") or "")
        for merge in self._model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            yield left, right, left + right[prefix:]


def _kind_of(model: Mapping[str, Any]) -> str:
    """Return the kind of a model of an old file, which does not name it."""
    if "merges" in model:
        return "BPE"
    return "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece"
