"""What becomes of products whose pictures or texts cannot all be embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clipshelf.catalogue.product_sides import texts_of
from clipshelf.types import Product


@dataclass(frozen=True)
class Problem:
    """What cannot be used of a product.

    - `reason`: why the product cannot be used, or, where it stays `without_picture`, its pictures; None for a product
      that is good but for some parts.
    - `left_out`: the parts that alone cannot be used, and why, such as ("image 2", "a.jpg: ...").
    """

    reason: str | None
    without_picture: bool = False
    left_out: Sequence[tuple[str, str]] = field(default_factory=list)

    @property
    def is_fatal(self) -> bool:
        """Whether the product cannot be used."""
        return self.reason is not None and not self.without_picture

    @property
    def failures(self) -> Sequence[tuple[str | None, str]]:
        """What is reported: the part, None for the whole product, and why."""
        if self.reason is None:
            return self.left_out
        return [("image", self.reason), *self.left_out] if self.without_picture else [(None, self.reason)]


def find_problem(
    product: Product,
    pictures: int,
    unread: Mapping[int, str],
    unusable: Mapping[int, str],
    *,
    may_lack_pictures: bool,
) -> Problem | None:
    """Tell what cannot be used of a product, None for nothing.

    - `pictures`: how many it has.
    - `unread`, `unusable`: why a picture, and a text, at a position cannot be embedded.
    - `may_lack_pictures`: whether it may stay without pictures where none can be read.
    """
    if not unread and not unusable:
        return None
    texts = len(texts_of(product))
    left_out = _left_out("image", unread, pictures) + _left_out("text", unusable, texts)
    if texts and len(unusable) == texts:
        return Problem(_reason(unusable, texts, "texts"))
    if pictures and len(unread) == pictures:
        return Problem(_reason(unread, pictures, "pictures"), may_lack_pictures, left_out)
    return Problem(None, left_out=left_out)


def kept_record(
    product: Product, stored: Sequence[str | None], unread: Mapping[int, str], unusable: Mapping[int, str]
) -> Product:
    """Return the record that a catalogue stores.

    - `stored`: what it has for each picture.
    - `unread`, `unusable`: the positions of pictures and texts that cannot be embedded. Where others can, the record
      is without them, so that its lists are those of the parts.
    """
    if not stored and not unusable:
        return product
    record = dict(product)
    if stored:
        paths = [path for i, path in enumerate(stored) if i not in unread or len(unread) == len(stored)]
        if any(paths):
            record["image"] = paths if isinstance(product["image"], list) else paths[0]
        else:
            del record["image"]
    if unusable and isinstance(product["text"], list):
        record["text"] = [text for i, text in enumerate(product["text"]) if i not in unusable]
    return record


def _left_out(side: str, reasons: Mapping[int, str], count: int) -> list[tuple[str, str]]:
    """The parts of a side that are left out, counted as people do; none where the whole side is."""
    return [(f"{side} {i + 1}", reason) for i, reason in sorted(reasons.items()) if len(reasons) < count]


def _reason(reasons: Mapping[int, str], count: int, what: str) -> str:
    """Why a side cannot be used."""
    first = reasons[min(reasons)]
    return first if count == 1 else f"expected {what} of which one can be used, found none in {count}: {first}"
