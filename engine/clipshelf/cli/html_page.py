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
from clipshelf.display import one_line
from clipshelf.errors import ImageError
from clipshelf.files import durable
from clipshelf.model.thumbnails import thumbnail
from clipshelf.recommend.answers import Recommendation, Recommendations
from clipshelf.recommend.profile import Interaction
from clipshelf.recommend.query import Query
from clipshelf.recommend.weights import Weights
from clipshelf.types import ImageSource, PathLike, Product

_DEFAULT_WEIGHTS = Weights()
_LARGEST_SHOWN = 6  # contributions on a card


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
        title=_escaped(title), subtitle=_escaped(subtitle), sections="\n".join(map(_section, sections))
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
    best = max((abs(item.score) for item in answer), default=0.0)
    largest = max((abs(part.value) for item in answer for part in item.contributions), default=0.0)
    cards = "\n".join(_card(item, section.catalogue, best, largest) for item in answer)
    note = f'<p class="soft">{_escaped(answer.note)}</p>' if answer.note else ""
    shelf = f'<ol class="shelf">\n{cards}\n</ol>' if cards else f"<p>No product is left to answer with.</p>{note}"
    return (
        f"<section>\n<h2>{_escaped(section.title)}</h2>\n"
        f'<div class="query">{photos}<div>{words}{_named_products(section)}'
        f'{_filters(query)}<p class="soft">{took}</p></div></div>\n{shelf}\n</section>'
    )


def _named_products(section: Section) -> str:
    """The products that the query names, each with its role."""
    taste = section.query.taste
    roles = [("liked", id_, strength) for id_, strength in taste.liked.items()]
    roles += [("disliked", id_, strength) for id_, strength in taste.disliked.items()]
    roles += dict.fromkeys((_role(event), event.id, 1.0) for event in taste.history)
    items = []
    for role, id_, strength in roles:
        row = int(section.catalogue.find([id_])[0])
        picture = _product_picture(section.catalogue.products[row], section.catalogue) if row >= 0 else ""
        times = f" &times; {strength:g}" if strength != 1 else ""
        unknown = "" if row >= 0 else " (unknown)"
        items.append(f"<li>{picture}<span><b>{role}</b> {_escaped(id_)}{times}{unknown}</span></li>")
    return f'<ul class="named">{"".join(items)}</ul>' if items else ""


def _role(event: Interaction) -> str:
    """The kind of an event in words, and the stars of a rating."""
    role = event.kind.replace("_", " ")
    return role if event.stars is None else f"{role} {event.stars:g} of 5"


def _filters(query: Query) -> str:
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
        f'<p class="filters">{"".join(f"<code>{_escaped(setting)}</code>" for setting in settings)}</p>'
        if settings
        else ""
    )


def _card(item: Recommendation, catalogue: Catalogue, best: float, largest: float) -> str:
    product = item.product
    text = str(product.get("text", item.id))
    price = product.get("price")
    cost = f"{price:,.2f}" if isinstance(price, (int, float)) else str(price or "")
    score = f"<b>score {_rounded(item.score)}</b><span>fits {item.relevance:.0%}</span>"
    if item.probability is not None:
        score += f"<span>match {item.probability:.1%}</span>"
    return (
        f'<li class="product">{_product_picture(product, catalogue)}'
        f'<p class="text" title="{_escaped(text)}">{_escaped(text)}</p>'
        f'<p class="facts"><span class="kind">{_escaped(str(product.get("category", "")))}</span>'
        f'<span class="price">{_escaped(cost)}</span></p>'
        f'<div class="score">{score}{_bar(item.score, best)}</div>{_reasons(item, largest)}</li>'
    )


def _reasons(item: Recommendation, largest: float) -> str:
    """The largest contributions to a score as bars, and the sum of the others."""
    parts = sorted(item.contributions, key=lambda part: -abs(part.value))
    shown = [(str(part), part.value) for part in parts[:_LARGEST_SHOWN]]
    if others := parts[_LARGEST_SHOWN:]:
        shown.append((f"{len(others)} smaller", sum(part.value for part in others)))
    rows = [
        f"<dt>{_escaped(name)}</dt><dd>{_rounded(value, '+')}</dd><dd>{_bar(value, largest)}</dd>"
        for name, value in shown
    ]
    return f'<dl class="why">{"".join(rows)}</dl>'


def _rounded(value: float, sign: str = "") -> str:
    """Two digits, with a minus as wide as a plus, and no minus before 0.00."""
    return f"{round(value, 2) + 0.0:{sign}.2f}".replace("-", "&minus;")


def _bar(value: float, full: float) -> str:
    """A bar as long as the share of `value` in `full`, in another colour below 0."""
    share = min(100.0, 100 * abs(value) / full) if full > 0 else 0.0
    sign = ' class="minus"' if value < 0 else ""
    return f'<span class="bar"><i{sign} style="width:{share:.0f}%"></i></span>'


def _product_picture(product: Product, catalogue: Catalogue) -> str:
    """A product's picture, or a blank where it has none, or one outside the catalogue's root."""
    try:
        path = catalogue.picture(product)
    except ImageError as error:
        return f'<div class="blank" title="{escape(str(error))}"></div>'
    alt = str(product.get("text", product["id"]))
    return _picture(path, alt) if path is not None else '<div class="blank"></div>'


def _picture(source: ImageSource, alt: str) -> str:
    """A picture as an <img> that carries its data, or a blank where it cannot be read any more."""
    try:
        jpeg = thumbnail(source)
    except ImageError:
        return '<div class="blank"></div>'
    data = base64.b64encode(jpeg).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}">'
