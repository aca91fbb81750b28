"""A tokenizer.json with a part of its vocabulary, and new ids in the order of the old ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.types import TokenIds
from tokenizers import Tokenizer

from clipshelf_export.vocabulary.languages import Alphabet
from clipshelf_export.vocabulary.pieces import Pieces


def choose_ids(
    content: Mapping[str, Any], tokenizer: Tokenizer, texts: Iterable[str], alphabet: Alphabet, required: Iterable[int]
) -> TokenIds:
    """Return the ids to keep, in order, int64 (K,).

    - `content`: of tokenizer.json.
    - `tokenizer`: made of it.
    - `texts`: whose pieces are kept.
    - `alphabet`: all pieces in its characters are kept.
    - `required`: ids that the text tower needs.
    """
    pieces = Pieces(content)
    chosen = {id_ for text in texts for id_ in tokenizer.encode(text).ids}
    for piece, index in pieces.ids.items():
        written = pieces.written(piece)
        if written is None or (alphabet.languages and alphabet.has(written)):
            chosen.add(index)
    kept = pieces.with_parts(chosen | pieces.always_kept())
    kept |= {int(token["id"]) for token in content.get("added_tokens") or ()}
    return np.array(sorted(kept | set(required)), np.int64)


def trim_file(content: Mapping[str, Any], kept: TokenIds) -> dict[str, Any]:
    """Return the content of tokenizer.json with the ids `kept` (K,) alone, which become 0 to K - 1."""
    new_ids = {int(old): new for new, old in enumerate(kept)}
    trimmed = copy.copy(dict(content))
    trimmed["model"] = Pieces(content).trimmed_model(new_ids)
    trimmed["added_tokens"] = [{**token, "id": new_ids[token["id"]]} for token in content.get("added_tokens") or ()]
    trimmed["post_processor"] = _renumber(content.get("post_processor"), new_ids)
    trimmed["padding"] = trimmed["truncation"] = None
    return trimmed


def _renumber(processor: Any, new_ids: Mapping[int, int]) -> Any:
    """Return a post-processor with the new ids of its special tokens."""
    if processor is None:
        return None
    processor = copy.deepcopy(processor)
    for step in processor.get("processors", [processor]):
        for token in step.get("special_tokens", {}).values():  # TemplateProcessing
            token["ids"] = [new_ids[id_] for id_ in token["ids"]]
        for name in ("sep", "cls"):  # BertProcessing, RobertaProcessing
            if name in step:
                text, id_ = step[name]
                step[name] = [text, new_ids[id_]]
    return processor


def prove_equal(original: Tokenizer, trimmed: Tokenizer, kept: TokenIds, texts: Sequence[str]) -> None:
    """Raise ExportError where a text is split in another way than before."""
    for text in texts:
        if not is_equal(original, trimmed, kept, text):
            raise ExportError(f"vocabulary: expected the same pieces as before, found others for {text[:80]!r}")


def is_equal(original: Tokenizer, trimmed: Tokenizer, kept: TokenIds, text: str) -> bool:
    """Tell whether the trimmed tokenizer splits a text as the original one does."""
    return bool(original.encode(text).ids == kept[trimmed.encode(text).ids].tolist())
