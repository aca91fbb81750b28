from __future__ import annotations

import pytest
from clipshelf import Catalogue, Engine, Recommender
from support import tiny
from support.sample_query import COUNT, DIM
from support.shelves import clustered, shelf


@pytest.fixture(scope="session")
def wide_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine of DIM dimensions."""
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("wide"), dim=DIM))


@pytest.fixture
def recommender(wide_engine: Engine) -> Recommender:
    """A recommender from COUNT products of several kinds."""
    return Recommender(wide_engine, shelf(wide_engine, clustered(COUNT, DIM)))


@pytest.fixture
def colours(engine: Engine) -> Catalogue:
    """A catalogue of three products, each with a text and a picture of one colour."""
    return Catalogue.build(
        engine,
        [
            {"id": colour, "text": colour, "image": tiny.picture(colour), "price": 10 * i}
            for i, colour in enumerate(tiny.COLOURS)
        ],
    )
