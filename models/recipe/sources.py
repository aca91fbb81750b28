"""Pictures with captions, from openclipart and sets of emoji.

The `concept` of a picture is the head noun of its name. Validation holds out whole concepts, over all sources.
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
    """A picture and its captions.

    - `source`, `name`: the set, and the name in it.
    - `path`: a PNG or SVG file, or the file that contains `body`.
    - `captions`: best first.
    - `concept`: the head noun.
    - `body`: the text of an SVG that is inside another file, else "".
    """

    source: str
    name: str
    path: Path
    captions: tuple[str, ...]
    concept: str
    body: str = ""


# Folders whose pictures are named after a theme, or show no object.
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
# Emoji that are left out: 258 flags, and variants such as "woman pilot" beside "pilot". They are a third of the sets
# and have few concepts.
_NO_EMOJI = re.compile(r"keycap|(flag of|input|regional|wom[ae]n|m[ae]n|family|kiss|couple with heart) .+")


def _clean(text: str) -> str:
    text = re.sub(r"\(.*?\)|\[.*?\]", " ", unescape(text)).replace("_", " ").replace("-", " ")
    text = re.sub(r"[^A-Za-z' ]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    return re.sub(r"\s+", " ", text).strip().lower()


def sentence(phrase: str) -> str:
    """Make a sentence of a phrase: "red apple" becomes "A red apple."."""
    article = "" if re.match(r"(the|a|an|two|three|some|my)\b", phrase) else "an " if phrase[0] in "aeiou" else "a "
    if phrase.endswith("s") and not phrase.endswith(("ss", "us")):
        article = ""
    text = article + phrase
    return text[0].upper() + text[1:] + "."


def _captions(phrase: str, keywords: list[str]) -> tuple[str, ...]:
    """Return captions of a phrase: alone, then with keywords that add something to it."""
    rest = [word for word in keywords if word not in phrase.split() and word != phrase][:6]
    captions = [sentence(phrase), phrase]
    if rest:
        captions.append(f"{sentence(phrase)[:-1]}, {', '.join(rest[:3])}.")
        captions.append(", ".join([phrase, *rest]))
    return tuple(captions)


def _concept(phrase: str, wordnet: WordNet) -> str:
    """Return the last noun before any preposition: "slice" of "slice of pizza", "apple" of "red apple"."""
    head = re.split(r"\b(?:of|with|on|in|at|for|and|from)\b", phrase)[0].split() or phrase.split()
    nouns = [word for word in head if word in wordnet.noun_words or word.rstrip("s") in wordnet.noun_words]
    return (nouns or head)[-1].rstrip("s")


def _is_english(phrase: str, wordnet: WordNet) -> bool:
    """Whether WordNet has every word of a phrase, plurals also without their s."""
    words = [word for word in phrase.split() if len(word) > 2]
    return bool(words) and all(w in wordnet.words or w.removesuffix("s") in wordnet.words for w in words)


def openclipart(cache: Path, wordnet: WordNet) -> list[Picture]:
    """Return the drawings of openclipart that have a title or keywords in English."""
    folder = Path("usr/share/openclipart")
    svg = fetch.debian_package(fetch.OPENCLIPART_SVG, cache) / folder / "svg"
    png = fetch.debian_package(fetch.OPENCLIPART_PNG, cache) / folder / "png"
    pictures, title_counts = [], Counter[str]()
    for path in sorted(svg.rglob("*.svg")):
        name = path.relative_to(svg).with_suffix("").as_posix()
        picture = png / f"{name}.png"
        work = re.search(r"<cc:Work.*?</cc:Work>", path.read_text(encoding="utf-8", errors="replace"), re.S)
        if _SKIP.search(name) or work is None or not picture.is_file():
            continue
        element = re.search(r"<dc:title>(.*?)</dc:title>", work[0], re.S)
        title = _clean(_SERIES.sub("", element[1] if element else ""))
        words = [_clean(word) for word in re.findall(r"<rdf:li>(.*?)</rdf:li>", work[0], re.S)]
        keywords = [w for w in dict.fromkeys(words) if len(w) > 2 and w not in _NO_KEYWORD and _is_english(w, wordnet)]
        if not _is_english(title, wordnet) or len(title.split()) > 7:
            # The title is foreign or missing. The keywords alone still name the kind of thing.
            title = keywords.pop(0) if len(keywords) > 1 else ""
        title_counts[title] += 1
        if title and title_counts[title] <= _PER_CAPTION:
            captions = _captions(title, keywords)
            pictures.append(Picture("openclipart", name, picture, captions, _concept(title, wordnet)))
    return pictures


@dataclass(frozen=True)
class _Emoji:
    """An emoji: its name in Unicode, its captions and its concept."""

    label: str
    captions: tuple[str, ...]
    concept: str


def _emoji_words(cache: Path, wordnet: WordNet) -> dict[str, _Emoji]:
    """Return emoji, without skin tones and letters, by their lower-case code points without variation selectors."""
    data = json.loads((fetch.npm_package(fetch.KEYWORDS, cache) / "en/data.json").read_text(encoding="utf-8"))
    words = {}
    for emoji in data:
        label = _clean(emoji["label"].replace("flag: ", "flag of "))
        if len(label) > 2 and "group" in emoji and not _NO_EMOJI.fullmatch(label):
            tags = [tag for tag in map(_clean, emoji.get("tags", ())) if len(tag) > 2]
            words[_code(emoji["hexcode"])] = _Emoji(emoji["label"], _captions(label, tags), _concept(label, wordnet))
    return words


def _code(hexcode: str) -> str:
    return "-".join(part.lstrip("0") for part in hexcode.lower().split("-") if part != "fe0f")


def _letters(name: str) -> str:
    """Return the letters of a name, because sets differ: "Christmas tree", "christmas-tree", "christmastree-1"."""
    return re.sub(r"[^a-z]", "", name.lower())


def _icons(root: Path) -> dict[str, str]:
    """Return the drawings of an Iconify set by name, each as the text of an SVG file."""
    icons = json.loads((root / "icons.json").read_text(encoding="utf-8"))
    drawn = {}
    for name, icon in icons["icons"].items():
        wide, high = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        drawn[name] = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        drawn[name] += f'viewBox="0 0 {wide} {high}">{icon["body"]}</svg>'
    return drawn


def emoji(cache: Path, wordnet: WordNet) -> list[Picture]:
    """Return drawings of each emoji in several styles, without Fluent's 3D style, which is that of the sample shelf."""
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
            labelled = words[code]
            pictures.append(
                Picture("noto", code, root / "icons.json", labelled.captions, labelled.concept, icons[icon])
            )
    return pictures + _named_emoji(cache, words)


def _named_emoji(cache: Path, words: dict[str, _Emoji]) -> list[Picture]:
    """Return the drawings of the sets that use the labels of Unicode as names."""
    by_label = {_letters(emoji.label): emoji for emoji in words.values()}
    pictures = []
    for source, package in fetch.NAMED.items():
        root = fetch.npm_package(package, cache)
        for name, body in sorted(_icons(root).items()):
            emoji = by_label.get(_letters(name))
            if emoji is not None:
                pictures.append(Picture(source, name, root / "icons.json", emoji.captions, emoji.concept, body))
    return pictures


def all_pictures(cache: Path, wordnet: WordNet) -> list[Picture]:
    """Return the pictures of every source, in a fixed order."""
    return openclipart(cache, wordnet) + emoji(cache, wordnet)
