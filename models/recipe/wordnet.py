"""The noun half of WordNet 3.0: definitions of synsets, and the synsets of ImageNet's classes."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Synset:
    """One sense: its number and its definition."""

    offset: int
    gloss: str


def _parse(line: str) -> Synset:
    """Parse a line of data.noun (format: wndb(5WN)): fields, then `|` and the definition with examples."""
    fields, _, gloss = line.partition("|")
    return Synset(int(fields.split()[0]), gloss.split(";")[0].split('"')[0].strip())


class WordNet:
    """The synsets of nouns by offset, and the words of all parts of speech in lower case."""

    def __init__(self, root: Path):
        self._folder = root / "usr/share/wordnet"
        lines = (self._folder / "data.noun").read_text(encoding="utf-8").splitlines()
        synsets = (_parse(line) for line in lines if not line.startswith("  "))
        self.nouns = {synset.offset: synset for synset in synsets}

    def _index(self, part: str) -> set[str]:
        lines = (self._folder / f"index.{part}").read_text(encoding="utf-8").splitlines()
        return {line.split(" ", 1)[0].replace("_", " ") for line in lines if not line.startswith("  ")}

    @cached_property
    def noun_words(self) -> set[str]:
        """All nouns, in lower case."""
        return self._index("noun")

    @cached_property
    def words(self) -> set[str]:
        """All words of any part of speech, in lower case."""
        return self.noun_words.union(*(self._index(part) for part in ("verb", "adj", "adv")))


def imagenet_offsets() -> list[int]:
    """Return the WordNet 3.0 noun offsets of the 1000 classes, in the order of the logits, from timm's list."""
    text = (package_folder("timm") / "data/_info/imagenet_synsets.txt").read_text(encoding="utf-8")
    return [int(line[1:]) for line in text.split()]


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it, because open_clip and timm import torchvision."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"expected the package {name}, found none: pip install --no-deps -r requirements-lists.txt"
        )
    return Path(spec.origin).parent
