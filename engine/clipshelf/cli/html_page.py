"""Recommendations as one HTML page that loads nothing: pictures and styles are inside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.product_sides import name_of
from clipshelf.cli.html_card import Picture, card, page_file, reasons, running_sums
from clipshelf.display import one_line
from clipshelf.errors import ImageError
from clipshelf.files import durable
from clipshelf.model.thumbnails import thumbnail
from clipshelf.recommend.answers import Recommendations, shorten
from clipshelf.recommend.profile import Interaction
from clipshelf.recommend.query import Query
from clipshelf.recommend.weights import Weights
from clipshelf.types import ImageSource, PathLike, Product

_DEFAULT_WEIGHTS = Weights()
_NO_PICTURE = '<span class="none"></span>'
_NAME_WIDTH = 60  # characters of a product's name in the reasons


@dataclass(frozen=True)
class Section:
    """One query, its answer, and the catalogue that the answer is from."""

    title: str
    query: Query
    answer: Recommendations
    catalogue: Catalogue


def write_page(path: PathLike, title: str, subtitle: str, sections: Iterable[Section]) -> None:
    """Write queries and their answers to one HTML file, whole or not at all.

    - `path`: the file.
    - `title`, `subtitle`: plain text above the sections.
    - `sections`: in order.

    Raises OSError.
    """
    template = Template(resources.files("clipshelf.cli").joinpath("page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=_escaped(title),
        subtitle=_escaped(subtitle),
        style=page_file("page.css"),
        sections="\n".join(map(_section, sections)),
    )
    with durable(Path(path)) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def _escaped(text: str) -> str:
    """`text` as HTML on one line, without control characters."""
    return escape(one_line(text))


def _section(section: Section) -> str:
    query, answer = section.query, section.answer
    photos = "".join(_picture(image, "a photo of the query") for image in query.images)
    words = "".join(f"<blockquote>“{_escaped(text.strip())}”</blockquote>" for text in query.texts)
    took = f"{answer.took_ms['total']:.1f} ms among {len(section.catalogue):,} products"
    note = f'<p class="soft">{_escaped(answer.note)}</p>' if answer.note else ""
    shelf = _shelf(section) if answer.items else f"<p>No product is left to answer with.</p>{note}"
    return (
        f"<section>\n<h2>{_escaped(section.title)}</h2>\n"
        f'<div class="query">{photos}<div>{words}{_named_products(section)}'
        f'{_settings(query)}<p class="soft small">{took}</p></div></div>\n{shelf}\n</section>'
    )


def _shelf(section: Section) -> str:
    """The products of an answer; their bars have one scale."""
    names = _names(section)
    sums = [total for item in section.answer for total in running_sums(reasons(item, names))]
    scale = min(sums), max(sums)
    catalogue = section.catalogue
    pictures = [_product_picture(item.product, catalogue, item.picture) for item in section.answer]
    cards = [card(item, picture, names, scale) for item, picture in zip(section.answer, pictures, strict=True)]
    return '<ol class="shelf">\n' + "\n".join(cards) + "\n</ol>"


def _names(section: Section) -> dict[str, str]:
    """What the products are called that the query names: the beginnings of their texts."""
    ids = list(section.query.named_ids)
    rows = section.catalogue.find(ids).tolist()
    found = [(id_, row) for id_, row in zip(ids, rows, strict=True) if row >= 0]
    records = section.catalogue.records([row for _, row in found])
    return {
        id_: shorten(one_line(name_of(record)), _NAME_WIDTH) for (id_, _), record in zip(found, records, strict=True)
    }


def _named_products(section: Section) -> str:
    """The products that the query names, each with its role."""
    taste = section.query.taste
    roles = [("liked", id_, strength) for id_, strength in taste.liked.items()]
    roles += [("disliked", id_, strength) for id_, strength in taste.disliked.items()]
    roles += dict.fromkeys((_role(event), event.id, 1.0) for event in taste.history)
    items = []
    for role, id_, strength in roles:
        row = int(section.catalogue.find([id_])[0])
        product = section.catalogue.products[row] if row >= 0 else {"id": id_}
        data = _product_picture(product, section.catalogue).data
        picture = _NO_PICTURE if data is None else f'<img src="{data}" alt="">'
        times = f" &times; {strength:g}" if strength != 1 else ""
        unknown = "" if row >= 0 else " (unknown)"
        kind = "chip disliked" if role == "disliked" else "chip"
        items.append(f'<li class="{kind}">{picture}<span><b>{role}</b> {_escaped(id_)}{times}{unknown}</span></li>')
    return f'<ul class="chips">{"".join(items)}</ul>' if items else ""


def _role(event: Interaction) -> str:
    """The kind of an event in words, and the stars of a rating."""
    role = event.kind.replace("_", " ")
    return role if event.stars is None else f"{role} {event.stars:g} of 5"


def _settings(query: Query) -> str:
    """The filter, exclusions, diversity and weights of a query."""
    where = query.where if isinstance(query.where, str) else json.dumps(query.where, ensure_ascii=False, default=str)
    weights = query.weights or {}
    if isinstance(weights, Weights):
        weights = {name: value for name, value in asdict(weights).items() if value != getattr(_DEFAULT_WEIGHTS, name)}
    settings = [f"where {where}"] if query.where is not None else []
    settings += [f"without {id_}" for id_ in sorted(query.exclude)]
    settings += ["without what was bought"] if query.exclude_bought else []
    settings += [f"diversity {query.diversity:g}"] if query.diversity else []
    settings += [f"weight of {name} {value:g}" for name, value in weights.items()]
    return (
        f'<p class="settings">{"".join(f"<code>{_escaped(setting)}</code>" for setting in settings)}</p>'
        if settings
        else ""
    )


def _product_picture(product: Product, catalogue: Catalogue, index: int | None = None) -> Picture:
    """A picture of a product, at `index` or the first; none where it cannot be read, or lies outside the root."""
    try:
        path = catalogue.picture(product, index)
    except ImageError as error:
        return Picture(None, str(error))
    return Picture(None if path is None else _data_uri(path))


def _picture(source: ImageSource, alt: str) -> str:
    """A picture as an <img> that carries its data, or a blank where it cannot be read any more."""
    data = _data_uri(source)
    return _NO_PICTURE if data is None else f'<img src="{data}" alt="{escape(alt)}">'


def _data_uri(source: ImageSource) -> str | None:
    try:
        return f"data:image/jpeg;base64,{base64.b64encode(thumbnail(source)).decode()}"
    except ImageError:
        return None
