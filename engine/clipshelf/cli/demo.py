"""`clipshelf demo`: sample queries on the embedded model and the sample shelf."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.options import Commands

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.model.engine import Engine

REVIEW = "I love running shoes, especially those with great support and comfort."
_K = 6
# A title, the text and the photo of each query.
_QUERIES: tuple[tuple[str, str | None, str | None], ...] = (
    ("A review and a photo", REVIEW, "sneaker.jpg"),
    ("Words alone", "something warm to wear in the snow", None),
    ("A photo alone", None, "fruit.jpg"),
)


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    demo = commands.add_parser("demo", help="answer sample queries with the embedded model and shelf")
    demo.add_argument("--html", metavar="FILE", default="demo.html", help="page to write (default: %(default)s)")
    demo.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    """Answer the sample queries, print the answers, and write them to an HTML file."""
    from clipshelf import bundled
    from clipshelf.cli.html_page import Section, write_page
    from clipshelf.model.engine import Engine
    from clipshelf.recommend.query import Query
    from clipshelf.recommend.recommender import Recommender

    engine, page = Engine.load(), Path(args.html)
    shelf, photos = bundled.shelf_path(), bundled.queries_path()
    print(f"engine: embedded model {engine.fingerprint}, {engine.dim} dimensions, {engine.provider}")
    four, whole = _embed(engine, shelf / "four.csv"), _embed(engine, shelf / "products.csv")
    sections = []
    for catalogue, (kind, text, photo) in ((four, _QUERIES[0]), *((whole, query) for query in _QUERIES)):
        title = f"{kind}, among {len(catalogue)} products"
        query = Query(text=text, image=None if photo is None else photos / photo, k=min(_K, len(catalogue)))
        answer = Recommender(engine, catalogue).answer(query)
        print(f"\n{title}\n{' + '.join(part for part in (text and repr(text), photo) if part)}\n{answer}")
        sections.append(Section(title, query, answer, catalogue))
    write_page(page, "What fits, from pictures and words", "clipshelf on its embedded model", sections)
    print(f"\nwrote {page.resolve()}")
    return 0


def _embed(engine: Engine, products: Path) -> Catalogue:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.cli.progress import progress_bar

    start = time.perf_counter()
    with progress_bar(products.name, "product") as progress:
        catalogue = Catalogue.build(engine, products, progress=progress)
    print(f"{products.name}: {len(catalogue)} products embedded in {time.perf_counter() - start:.1f} s")
    return catalogue
