"""The main job on what the package carries: the embedded model, the sample shelf, a few queries."""

from __future__ import annotations

import time
from pathlib import Path

from clipshelf import bundled
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.cli.html_page import Section, write_page
from clipshelf.cli.progress import progress_bar
from clipshelf.model.engine import Engine
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender

REVIEW = "I love running shoes, especially those with great support and comfort."
_QUERIES: tuple[tuple[str, str | None, str | None], ...] = (
    ("A review and a photo", REVIEW, "sneaker.jpg"),
    ("Words alone", "something warm to wear in the snow", None),
    ("A photo alone", None, "fruit.jpg"),
)


def run(page: Path, k: int = 6) -> None:
    """Answer the sample queries, print the answers and write them to the HTML file `page`."""
    engine = Engine.load()
    shelf, photos = bundled.shelf_path(), bundled.queries_path()
    print(f"engine: embedded model {engine.fingerprint}, {engine.dim} dimensions, {engine.provider}")
    four = _embed(engine, shelf / "four.csv")
    whole = _embed(engine, shelf / "products.csv")
    sections = []
    for catalogue, (kind, text, photo) in ((four, _QUERIES[0]), *((whole, query) for query in _QUERIES)):
        title = f"{kind}, among {len(catalogue)} products"
        query = Query(text=text, image=None if photo is None else photos / photo, k=min(k, len(catalogue)))
        answer = Recommender(engine, catalogue).answer(query)
        print(f"\n{title}\n{' + '.join(part for part in (text and repr(text), photo) if part)}\n{answer}")
        sections.append(Section(title, query, answer, catalogue))
    write_page(page, "What fits, from pictures and words", "clipshelf on its embedded model", sections)
    print(f"\nwrote {page.resolve()}")


def _embed(engine: Engine, products: Path) -> Catalogue:
    start = time.perf_counter()
    with progress_bar(products.name, "product") as progress:
        catalogue = Catalogue.build(engine, products, progress=progress)
    print(f"{products.name}: {len(catalogue)} products embedded in {time.perf_counter() - start:.1f} s")
    return catalogue
