"""A generation of another model: the keeper of a sharded catalogue opens that model, and answers with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clipshelf import Engine, Recommender, index
from clipshelf.errors import ClipshelfError, FingerprintMismatch
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.keeper import ShardedKeeper
from clipshelf.scale.shards import LocalShards
from clipshelf.scale.writing import split
from clipshelf.types import Product
from support import tiny
from support.same_answers import facts

PRODUCTS: list[Product] = [{"id": f"p{row}", "text": f"{('red', 'blue')[row % 2]} shoe {row}"} for row in range(20)]


def local_shards(catalogue: ShardedCatalogue) -> LocalShards:
    return LocalShards(catalogue.folder, catalogue.manifest)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> list[Engine]:
    """Two models, of other weights and widths."""
    folder = tmp_path_factory.mktemp("models")
    paths = [tiny.write_artifact(folder / f"m{dim}", dim=dim, seed=dim) for dim in (4, 6)]
    return [Engine.load(path, threads=1) for path in paths]


@pytest.fixture
def keeper(engines: list[Engine], tmp_path: Path) -> Iterator[ShardedKeeper]:
    """A keeper of a catalogue of the first model."""
    split(index(engines[0], PRODUCTS, tmp_path / "one"), tmp_path / "many", 3)
    with closing(ShardedKeeper(engines[0], tmp_path / "many", local_shards)) as keeper:
        yield keeper


def test_the_model_of_a_new_generation_answers_for_it(
    engines: list[Engine], keeper: ShardedKeeper, tmp_path: Path
) -> None:
    first, second = engines
    one = index(second, PRODUCTS, tmp_path / "other")
    with keeper.use() as before:
        expected = facts(before.recommender.recommend("red shoe"))
    split(one, keeper.folder, 2)
    assert keeper.engine is first
    keeper.refresh()
    assert keeper.engine.fingerprint == second.fingerprint and keeper.current.generation == 2
    answer = facts(keeper.current.recommender.recommend("red shoe"))
    assert answer == facts(Recommender(second, one).recommend("red shoe")) != expected
    split(index(first, PRODUCTS, tmp_path / "one"), keeper.folder, 3)
    keeper.refresh()
    assert keeper.engine.fingerprint == first.fingerprint
    assert facts(keeper.current.recommender.recommend("red shoe")) == expected


def test_a_model_that_cannot_be_opened_leaves_the_old_generation(
    engines: list[Engine], keeper: ShardedKeeper, tmp_path: Path
) -> None:
    model = tmp_path / "gone"
    shutil.copytree(engines[1].artifact.path, model)
    one = index(Engine.load(model, threads=1), PRODUCTS, tmp_path / "other")
    split(one, keeper.folder, 2)
    shutil.rmtree(model)
    with pytest.raises(ClipshelfError, match="gone"):
        keeper.refresh()
    assert keeper.engine is engines[0] and keeper.current.generation == 1
    assert len(keeper.current.recommender.recommend("red", k=30)) == len(PRODUCTS)


def test_an_engine_of_another_model_is_refused_at_the_start(engines: list[Engine], keeper: ShardedKeeper) -> None:
    with pytest.raises(FingerprintMismatch, match="expected the model that embedded the catalogue"):
        ShardedKeeper(engines[1], keeper.folder, local_shards)
