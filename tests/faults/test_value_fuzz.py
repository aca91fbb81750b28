"""Mutated filters, queries, profiles and manifests: each is used, or refused with the error that it should have.

The seeds are in tests/support/seeds, and what once did something else is among them.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Profile, Query, Recommender
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.cli.main import main
from clipshelf.errors import ArtifactError, CatalogueError, InputError
from support import forged
from support.fuzzing import fuzz, mutated, mutated_json, mutated_text

pytestmark = pytest.mark.filterwarnings("error")  # NumPy would print it to the standard error of a host
SEEDS = Path(__file__).parents[1] / "support/seeds"
SECONDS = 2.0
PRODUCTS = [
    {
        "id": f"p{i}",
        "text": f"red {'shoe ' * (i % 3)}",
        "price": i,
        "brand": "ab"[i % 2],
        "tags": ["new", "sale"][: i % 3],
    }
    for i in range(20)
]


def seeds(name: str) -> list[Any]:
    return [json.loads(line) for line in (SEEDS / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def shop(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "shop"
    Catalogue.build(Engine.load(tiny_artifact, threads=1), PRODUCTS).save(folder)
    return folder


@pytest.fixture(scope="module")
def recommender(tiny_artifact: Path, shop: Path) -> Recommender:
    return Recommender(Engine.load(tiny_artifact, threads=1), Catalogue.load(shop))


def in_time(use: Callable[[], object]) -> None:
    """Run `use`, which may refuse its input."""
    start = time.thread_time()
    try:
        use()
    except InputError as error:
        assert str(error).isprintable() or "\n" not in str(error)
    assert time.thread_time() - start < SECONDS


def test_filters_in_words(recommender: Recommender) -> None:
    catalogue = recommender.catalogue

    def check(where: str) -> None:
        in_time(lambda: np.testing.assert_equal(catalogue.mask(where).shape, (len(catalogue),)))

    fuzz(mutated_text((SEEDS / "filters.txt").read_text().splitlines()), check)


@pytest.mark.parametrize("seed", seeds("queries.jsonl"), ids=lambda seed: next(iter(seed)))
def test_queries(seed: dict[str, Any], recommender: Recommender) -> None:
    def answer(data: Any) -> None:
        found = recommender.answer(Query.from_dict(data)).to_dict(explain=True)
        assert all(math.isfinite(item["score"]) for item in found["recommendations"])
        json.dumps(found, allow_nan=False).encode()

    def check(data: Any) -> None:
        in_time(lambda: answer(data))
        # In a batch only the mutated one is lost.
        failures: list[Any] = []
        good, *_ = recommender.recommend_batch([{"text": "red"}, data], on_error=failures.append)
        assert len(good) == 10 and all(failure.index == 1 for failure in failures)

    fuzz(mutated_json(seed), check)


@pytest.mark.parametrize("seed", seeds("profiles.jsonl"), ids=lambda seed: next(iter(seed)))
def test_profiles(seed: dict[str, Any], recommender: Recommender) -> None:
    def use(data: Any) -> None:
        profile = Profile.from_dict(data)
        assert Profile.from_dict(profile.to_dict()) == profile
        recommender.recommend(text="red", profile=profile, k=3)

    fuzz(mutated_json(seed), lambda data: in_time(lambda: use(data)))


def test_files_of_profiles(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    Profile(liked={"p1": 1.0}, texts=["warm"]).save(path)
    seed = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        in_time(lambda: Profile.load(path))

    fuzz(mutated(seed), check)


def test_manifests_of_artifacts(tiny_artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    manifest = folder / "manifest.json"
    plain = manifest.read_bytes()

    def use() -> None:
        try:
            engine = Engine.load(folder, threads=1)
            assert np.isfinite(engine.embed_texts(["red shoe"])).all()
            engine.embed_images([np.zeros((4, 6, 3), np.uint8)])
        except ArtifactError:
            pass
        assert main(["info", str(folder)]) in (0, 1)

    def check_bytes(data: bytes) -> None:
        manifest.write_bytes(data)
        use()

    def check_fields(fields: Any) -> None:
        manifest.write_bytes(json.dumps(fields).encode())
        use()

    fuzz(mutated(plain), check_bytes)
    fuzz(mutated_json(json.loads(plain)), check_fields)


def use_catalogue(folder: Path, engine: Engine) -> None:
    try:
        catalogue = Catalogue.load(folder)
        for where in ("price<9", "brand=a", "tags contains new"):
            catalogue.mask(where)
        answer = Recommender(engine, catalogue).recommend(text="red shoe", liked=["p1"], k=3)
        json.dumps(answer.to_dict(explain=True), allow_nan=False).encode()
    except (CatalogueError, InputError):
        pass
    assert all(isinstance(problem, str) for problem in find_problems(folder))
    assert main(["verify", str(folder)]) in (0, 1)


def test_manifests_of_catalogues(shop: Path, recommender: Recommender, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(shop, folder)
    fields = forged.read_fields(folder)

    def check(forgery: Any) -> None:
        if isinstance(forgery, dict):
            forged.seal(folder, forgery)
            use_catalogue(folder, recommender.engine)

    fuzz(mutated_json(fields), check)


@pytest.mark.parametrize(
    "role", ["embeddings", "ids", "products", "columns", "statistics", "offsets", "column-offsets", "keys"]
)
def test_files_of_catalogues_with_the_right_checksums(
    role: str, shop: Path, recommender: Recommender, tmp_path: Path
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(shop, folder)
    seed = next(folder.glob(f"{role}.*")).read_bytes()

    def check(content: bytes) -> None:
        forged.replace_file(folder, role, content)
        use_catalogue(folder, recommender.engine)

    fuzz(mutated(seed), check)
