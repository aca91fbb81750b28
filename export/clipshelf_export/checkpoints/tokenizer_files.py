"""The tokenizer of a checkpoint as one `tokenizers` file."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from tokenizers import Regex, Tokenizer, normalizers

from clipshelf_export.checkpoints.messages import first_line

# Any of these sets of files is a tokenizer.
FILE_SETS = (
    {"tokenizer.json"},
    {"vocab.json", "merges.txt"},
    {"vocab.txt"},
    {"sentencepiece.bpe.model"},
    {"spiece.model"},
)
# A text that a tokenizer must put its special tokens around.
PROBE = "a"
# ASCII punctuation, which the canonical texts of SigLIP do not have
PUNCTUATION = "[" + "".join(re.escape(mark) for mark in string.punctuation) + "]"


# White space as `str.split` of Python and its `re` see it
WHITE_SPACE = r"[\s\x1c-\x1f]+"


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer without padding and truncation.

    - `json`: the text of tokenizer.json.
    - `bos_id`, `eos_id`, `pad_id`: ids of the special tokens, None where it has none.
    - `max_tokens`: the longest text that the checkpoint admits, special tokens included.
    """

    json: str
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    max_tokens: int

    def special_ids(self, source: str) -> tuple[int, int, int]:
        """Return the ids of bos, eos and pad, eos in place of a missing pad.

        Raises ExportError, which names `source`, where the tokenizer has no bos or no eos token.
        """
        for name, value in (("bos", self.bos_id), ("eos", self.eos_id)):
            if value is None:
                raise ExportError(f"{source}: expected a tokenizer with a {name} token, found none")
        bos, eos = int(self.bos_id or 0), int(self.eos_id or 0)
        return bos, eos, eos if self.pad_id is None else self.pad_id

    def normalizer(self) -> Any:
        """Return the normalizer of the `tokenizers` file, None where it has none."""
        return Tokenizer.from_str(self.json).normalizer

    def with_limit(self, positions: int) -> int:
        """Return the context for a text tower with so many positions."""
        return min(positions, self.max_tokens)


def read_tokenizer(folder: Path) -> TokenizerFile:
    """Read the tokenizer of a checkpoint.

    - `folder`: holds tokenizer.json or the files of a tokenizer that transformers can turn into it.

    Raises ExportError where the files are missing or malformed.
    """
    names = {path.name for path in folder.iterdir()}
    if not any(files <= names for files in FILE_SETS):
        raise ExportError(f"{folder}: expected tokenizer.json, or vocab.json and merges.txt, found neither")
    try:
        tokenizer = load_tokenizer(folder)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # tokenizers raises bare Exception on malformed files
        raise ExportError(f"{folder}: expected a fast tokenizer, found: {first_line(error)}") from error
    return make_tokenizer_file(backend, tokenizer)


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of transformers for a folder; a file saved by transformers 5 is read by 4 too."""
    import transformers  # not needed for a plain tokenizer.json

    auto: Any = transformers.AutoTokenizer  # only half typed
    config = folder / "tokenizer_config.json"
    if (folder / "tokenizer.json").is_file() and config.is_file():
        settings = json.loads(config.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":
            auto = transformers.PreTrainedTokenizerFast
    return auto.from_pretrained(folder, local_files_only=True, use_fast=True)


def make_tokenizer_file(backend: Tokenizer, tokenizer: Any) -> TokenizerFile:
    """Return the file of `backend`, with the special tokens and the limit of a tokenizer of transformers."""
    backend.no_padding()
    backend.no_truncation()
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad", "cls", "sep")}
    for name, other in (("bos", "cls"), ("eos", "sep")):  # BERT has names of its own for both
        ids[name] = ids[other] if ids[name] is None else ids[name]
    return TokenizerFile(backend.to_str(), ids["bos"], ids["eos"], ids["pad"], int(tokenizer.model_max_length))


def cleaned(file: TokenizerFile, clean: str) -> TokenizerFile:
    """Return a tokenizer that cleans a text first.

    - `clean`: as open_clip names it: "whitespace" joins white space, "lower" also takes the lower case, "canonicalize"
      also removes ASCII punctuation and takes "_" for a space, as big_vision does, in which SigLIP was trained.

    https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/tokenizer.py
    Raises ExportError for another `clean`.
    """
    steps: list[Any] = [normalizers.Replace(Regex(WHITE_SPACE), " "), normalizers.Strip()]
    if clean == "lower":
        steps.append(normalizers.Lowercase())
    elif clean == "canonicalize":
        punctuation = [normalizers.Replace("_", " "), normalizers.Replace(Regex(PUNCTUATION), "")]
        steps = [*punctuation, normalizers.Lowercase(), *steps]
    elif clean != "whitespace":
        raise ExportError(f"tokenizer_kwargs.clean: expected whitespace, lower or canonicalize, found {clean}")
    tokenizer = Tokenizer.from_str(file.json)
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = normalizers.Sequence(steps)
    return replace(file, json=tokenizer.to_str())


def check_ids(file: TokenizerFile, vocabulary_size: int, ids: Iterable[int]) -> None:
    """Raise ExportError if the text tower has no row for a token of the tokenizer or for one of `ids`."""
    vocabulary = Tokenizer.from_str(file.json).get_vocab(with_added_tokens=False)
    largest = max([*vocabulary.values(), *ids])
    if largest >= vocabulary_size:
        raise ExportError(
            f"text_config.vocab_size: expected more than the tokenizer's largest id {largest}, found {vocabulary_size}"
        )


def check_template(file: TokenizerFile, *, first: int | None, last: int | None, source: str) -> None:
    """Raise ExportError unless the tokenizer puts the special tokens around a text that the tower was trained with.

    - `first`, `last`: the ids that each text must begin and end with; None for any.
    - `source`: names the checkpoint in messages.
    """
    ids = Tokenizer.from_str(file.json).encode(PROBE).ids
    for expected, found, name, verb in (
        (first, ids[:1], "first", "begins"),
        (last, ids[-1:], "end", "ends"),
    ):
        if expected is not None and found != [expected]:
            raise ExportError(
                f"{source}: expected a tokenizer that {verb} each text with its {name} token {expected}, found none "
                "(tokenizer.json has no post_processor that adds it)"
            )
