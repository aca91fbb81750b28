"""Pictures with words, from openclipart and emoji sets: what each shows, said as a person might say it.

A picture's `concept` is the head noun of its name; validation holds out whole concepts across all sources.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from . import fetch
from .wordnet import WordNet


@dataclass(frozen=True)
class Picture:
    """A file (PNG or SVG; `body` when the SVG is inside another file), captions, best first, and its concept."""

    source: str
    name: str
    path: Path
    captions: tuple[str, ...]
    concept: str
    body: str = ""


# Folders whose pictures carry a theme's name instead of their own, or show no thing at all.
_SKIP = re.compile(
    r"shapes/(stars|jigsaw|arrows|callouts|flowchart)|special/|computer/(icons|buttons)|/led/|/semaphore/"
    r"|games/cards|duplicates|logos|networksym|aiga-symbols"
)
_SERIES = re.compile(
    r"clipart by .*? - |part of the .*|lemon svg theme|svg road signs|aiga.*|gramastar|clip ?art", re.I
)
_NO_KEYWORD = {
    "hash", "clip art", "clipart", "unsorted", "icons", "icon", "theme", "magick", "mapsym", "signs and symbols",
    "united nations member", "image", "png", "svg", "color", "simple", "externalsource", "media", "outline",
    "recreation", "bordered", "ornamental", "special", "line art", "contour", "geometry", "sign", "symbol", "shape",
}  # fmt: skip
_PER_CAPTION = 12
# Emoji left out: 258 flags, and "woman pilot", "man pilot" beside "pilot" (a third of the sets, and few concepts).
_NO_EMOJI = re.compile(r"keycap|(flag of|input|regional|wom[ae]n|m[ae]n|family|kiss|couple with heart) .+")


def _clean(text: str) -> str:
    text = re.sub(r"\(.*?\)|\[.*?\]", " ", unescape(text)).replace("_", " ").replace("-", " ")
    text = re.sub(r"[^A-Za-z' ]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    return re.sub(r"\s+", " ", text).strip().lower()


def sentence(phrase: str) -> str:
    """ "red apple" -> "A red apple." """
    article = "" if re.match(r"(the|a|an|two|three|some|my)\b", phrase) else "an " if phrase[0] in "aeiou" else "a "
    if phrase.endswith("s") and not phrase.endswith(("ss", "us")):
        article = ""
    text = article + phrase
    return text[0].upper() + text[1:] + "."


def _captions(phrase: str, keywords: list[str]) -> tuple[str, ...]:
    """Sentences around `phrase`, then with keywords that say something the phrase does not."""
    rest = [word for word in keywords if word not in phrase.split() and word != phrase][:6]
    said = [sentence(phrase), phrase]
    if rest:
        said.append(f"{sentence(phrase)[:-1]}, {', '.join(rest[:3])}.")
        said.append(", ".join([phrase, *rest]))
    return tuple(said)


def _concept(phrase: str, wordnet: WordNet) -> str:
    """The last noun before any preposition: "slice of pizza" -> "slice", "red apple" -> "apple"."""
    head = re.split(r"\b(?:of|with|on|in|at|for|and|from)\b", phrase)[0].split() or phrase.split()
    nouns = [word for word in head if word in wordnet.noun_words or word.rstrip("s") in wordnet.noun_words]
    return (nouns or head)[-1].rstrip("s")


def _known(phrase: str, wordnet: WordNet) -> bool:
    """Whether every word is English enough to stand in WordNet (plurals without their s too)."""
    words = [word for word in phrase.split() if len(word) > 2]
    return bool(words) and all(w in wordnet.words or w.removesuffix("s") in wordnet.words for w in words)


def openclipart(cache: Path, wordnet: WordNet) -> list[Picture]:
    """Drawings with a title or keywords in English."""
    folder = Path("usr/share/openclipart")
    svg = fetch.debian_package(fetch.OPENCLIPART_SVG, cache) / folder / "svg"
    png = fetch.debian_package(fetch.OPENCLIPART_PNG, cache) / folder / "png"
    pictures, seen = [], Counter[str]()
    for path in sorted(svg.rglob("*.svg")):
        name = path.relative_to(svg).with_suffix("").as_posix()
        picture = png / f"{name}.png"
        work = re.search(r"<cc:Work.*?</cc:Work>", path.read_text(encoding="utf-8", errors="replace"), re.S)
        if _SKIP.search(name) or work is None or not picture.is_file():
            continue
        found = re.search(r"<dc:title>(.*?)</dc:title>", work[0], re.S)
        title = _clean(_SERIES.sub("", found[1] if found else ""))
        words = [_clean(word) for word in re.findall(r"<rdf:li>(.*?)</rdf:li>", work[0], re.S)]
        keywords = [w for w in dict.fromkeys(words) if len(w) > 2 and w not in _NO_KEYWORD and _known(w, wordnet)]
        if not _known(title, wordnet) or len(title.split()) > 7:
            # A foreign or missing title: the keywords alone still say what kind of thing it is.
            title = keywords.pop(0) if len(keywords) > 1 else ""
        seen[title] += 1
        if title and seen[title] <= _PER_CAPTION:
            captions = _captions(title, keywords)
            pictures.append(Picture("openclipart", name, picture, captions, _concept(title, wordnet)))
    return pictures


@dataclass(frozen=True)
class _Words:
    """What is said of an emoji: its name in Unicode, captions, concept."""

    label: str
    captions: tuple[str, ...]
    concept: str


def _emoji_words(cache: Path, wordnet: WordNet) -> dict[str, _Words]:
    """By lower-case code points without variation selectors; no skin tones, no letters."""
    data = json.loads((fetch.npm_package(fetch.KEYWORDS, cache) / "en/data.json").read_text(encoding="utf-8"))
    words = {}
    for emoji in data:
        label = _clean(emoji["label"].replace("flag: ", "flag of "))
        if len(label) > 2 and "group" in emoji and not _NO_EMOJI.fullmatch(label):
            tags = [tag for tag in map(_clean, emoji.get("tags", ())) if len(tag) > 2]
            words[_code(emoji["hexcode"])] = _Words(emoji["label"], _captions(label, tags), _concept(label, wordnet))
    return words


def _code(hexcode: str) -> str:
    return "-".join(part.lstrip("0") for part in hexcode.lower().split("-") if part != "fe0f")


def _letters(name: str) -> str:
    """ "Christmas tree", "christmas-tree" and "christmastree-1" -> "christmastree": each set spells in its own way."""
    return re.sub(r"[^a-z]", "", name.lower())


def _icons(root: Path) -> dict[str, str]:
    """The drawings of an Iconify set by name, each as an SVG file's text."""
    icons = json.loads((root / "icons.json").read_text(encoding="utf-8"))
    drawn = {}
    for name, icon in icons["icons"].items():
        wide, high = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        drawn[name] = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        drawn[name] += f'viewBox="0 0 {wide} {high}">{icon["body"]}</svg>'
    return drawn


def emoji(cache: Path, wordnet: WordNet) -> list[Picture]:
    """Drawings of each emoji in several styles. Fluent's 3D style is left for the sample shelf."""
    words = _emoji_words(cache, wordnet)
    pictures = []
    for source, folder in (
        ("twemoji", fetch.npm_package(fetch.TWEMOJI, cache)),
        ("fluent-flat", fetch.npm_package(fetch.FLUENT_FLAT, cache) / "assets"),
    ):
        coded = [(_code(path.stem), path) for path in sorted(folder.glob("*.svg"))]
        pictures += [
            Picture(source, code, path, words[code].captions, words[code].concept)
            for code, path in coded
            if code in words
        ]
    root = fetch.npm_package(fetch.NOTO, cache)
    icons, names = _icons(root), json.loads((root / "chars.json").read_text(encoding="utf-8"))
    for code, icon in sorted((_code(code), icon) for code, icon in names.items()):
        if code in words and icon in icons:
            said = words[code]
            pictures.append(Picture("noto", code, root / "icons.json", said.captions, said.concept, icons[icon]))
    return pictures + _named_emoji(cache, words)


def _named_emoji(cache: Path, words: dict[str, _Words]) -> list[Picture]:
    """The sets that name their drawings after Unicode's labels."""
    labelled = {_letters(said.label): said for said in words.values()}
    pictures = []
    for source, package in fetch.NAMED.items():
        root = fetch.npm_package(package, cache)
        for name, body in sorted(_icons(root).items()):
            said = labelled.get(_letters(name))
            if said is not None:
                pictures.append(Picture(source, name, root / "icons.json", said.captions, said.concept, body))
    return pictures


def all_pictures(cache: Path, wordnet: WordNet) -> list[Picture]:
    """Every source, in a fixed order."""
    return openclipart(cache, wordnet) + emoji(cache, wordnet)
