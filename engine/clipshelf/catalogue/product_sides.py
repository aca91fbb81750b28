"""The pictures and texts of a record: one, or a list of several, the most important one first."""

from __future__ import annotations

from typing import Any

from clipshelf.types import Product


def pictures_of(product: Product) -> list[Any]:
    """The pictures of a record, in order; in a catalogue their paths, and None for one that is no file."""
    image = product.get("image")
    return image if isinstance(image, list) else [] if image is None else [image]


def first_file(product: Product) -> int | None:
    """The index of the first picture of a record in a catalogue that has a path, None where none has."""
    return next((i for i, path in enumerate(pictures_of(product)) if path), None)


def texts_of(product: Product) -> list[str]:
    """The texts of a record, in order."""
    text = product.get("text")
    return text if isinstance(text, list) else [] if text is None else [text]


def name_of(product: Product) -> str:
    """What a product is called where there is room for one text: its first one, else its id."""
    return next(filter(None, texts_of(product)), product["id"])
