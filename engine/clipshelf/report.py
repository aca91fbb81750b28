"""Recommendations as one HTML page that stands alone: pictures are inside it, nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from clipshelf.catalogue import Catalogue
from clipshelf.errors import ImageError
from clipshelf.files import durable
from clipshelf.image import read_rgb
from clipshelf.recommender import Recommendation, Recommendations
from clipshelf.types import ImageSource, PathLike

_THUMBNAIL = (480, 480)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ --ink: #1c2128; --soft: #66707c; --line: #e4e7eb; --paper: #f6f7f9; --card: #fff; --accent: #2f6fde; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8eaed; --soft: #9aa4af; --line: #30363d; --paper: #14171b; --card: #1d2126; --accent: #7aa7f5; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }}
main {{ max-width: 1180px; margin: 0 auto; padding: 32px 20px 48px; }}
h1 {{ font-size: 1.6rem; margin: 0 0 4px; letter-spacing: -.01em; }}
h2 {{ font-size: 1.1rem; margin: 40px 0 12px; }}
.soft {{ color: var(--soft); margin: 0; }}
.query {{ display: flex; gap: 16px; align-items: center; margin: 0 0 16px; padding: 14px;
  background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--accent); border-radius: 10px; }}
.query img {{ width: 112px; height: 112px; object-fit: contain; background: #fff; border-radius: 6px; flex: none; }}
.query blockquote {{ margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }}
.shelf {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(166px, 1fr)); gap: 14px;
  list-style: none; margin: 0; padding: 0; }}
.product {{ display: flex; flex-direction: column; overflow: hidden;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; }}
.product img, .blank {{ width: 100%; aspect-ratio: 1; object-fit: contain; padding: 12px; background: #fff; }}
.words {{ display: flex; flex-direction: column; flex: 1; gap: 6px; padding: 12px; border-top: 1px solid var(--line); }}
.words p {{ margin: 0; overflow-wrap: anywhere; }}
.words .facts {{ display: flex; justify-content: space-between; gap: 8px; margin-top: auto;
  font-size: .85rem; color: var(--soft); }}
.price {{ color: var(--ink); font-weight: 600; white-space: nowrap; }}
.score {{ display: flex; align-items: center; gap: 8px; font-size: .8rem; color: var(--soft);
  font-variant-numeric: tabular-nums; }}
.bar {{ flex: 1; height: 5px; border-radius: 3px; background: var(--line); overflow: hidden; }}
.bar i {{ display: block; height: 100%; background: var(--accent); }}
@media (max-width: 480px) {{
  main {{ padding: 20px 12px 32px; }}
  .shelf {{ grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }}
  .query img {{ width: 84px; height: 84px; }}
}}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="soft">{subtitle}</p>
{sections}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """One query with its answer, and the catalogue that gave it."""

    title: str
    answer: Recommendations
    catalogue: Catalogue
    text: str | None = None
    image: ImageSource | None = None


def write_page(path: PathLike, title: str, subtitle: str, sections: Iterable[Section]) -> None:
    """Write queries and their recommendations to one HTML file, whole or not at all. Raises OSError."""
    page = _PAGE.format(
        title=escape(title), subtitle=escape(subtitle), sections="\n".join(_section(section) for section in sections)
    )
    with durable(Path(path)) as file:
        file.write(page.encode())


def _section(section: Section) -> str:
    words = f"<blockquote>“{escape(section.text)}”</blockquote>" if section.text else ""
    photo = _picture(section.image, "the photo of the query") if section.image is not None else ""
    best = max((item.score for item in section.answer), default=0.0)
    cards = "\n".join(_card(item, section.catalogue, best) for item in section.answer)
    took = f"{section.answer.took_ms['total']:.1f} ms among {len(section.catalogue):,} products"
    return (
        f'<section>\n<h2>{escape(section.title)}</h2>\n<div class="query">{photo}<div>{words}<p class="soft">{took}</p>'
        f'</div></div>\n<ol class="shelf">\n{cards}\n</ol>\n</section>'
    )


def _card(item: Recommendation, catalogue: Catalogue, best: float) -> str:
    product = item.product
    path = catalogue.picture(product)
    text = str(product.get("text", item.id))
    picture = _picture(path, text) if path is not None else '<div class="blank"></div>'
    share = 100 * max(0.0, item.score) / best if best > 0 else 0
    price = product.get("price")
    cost = f"{price:,.2f}" if isinstance(price, (int, float)) else str(price or "")
    return (
        f'<li class="product">{picture}<div class="words"><p>{escape(text)}</p>'
        f'<p class="facts"><span>{escape(str(product.get("category", "")))}</span>'
        f'<span class="price">{escape(cost)}</span></p>'
        f'<div class="score"><span class="bar"><i style="width:{share:.0f}%"></i></span>{item.score:.3f}</div>'
        "</div></li>"
    )


def _picture(source: ImageSource, alt: str) -> str:
    """A picture as an <img> that carries its own data, an empty square where it can't be read any more."""
    try:
        image = read_rgb(source)
    except ImageError:
        return '<div class="blank"></div>'
    image.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}">'
