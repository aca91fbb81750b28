"""What the parts make of their measurements; nothing is measured here, and no model runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.datasets import inputs
from clipshelf_bench.datasets.reading import read, read_products
from clipshelf_bench.parts import cold, feeding, limit, process, ranking, scaling, soak
from clipshelf_bench.race.harness import Heat, Plan, Race
from clipshelf_bench.race.process import ContenderError
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.subject import Subject

PEAKS = {"int8_gmacs": 100.0, "fp32_gmacs": 50.0, "read_gbs": 20.0}


class Ours(fakes.Fast):
    """The contender that the others are compared with."""

    name = "clipshelf"


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup([], [], Plan(threads=1), tmp_path, True, lambda _: None, calls=40)


def _subject(folder: Path) -> Subject:
    subject = Subject("fake", folder, None, None, 4, 8)
    subject.save()
    return subject


def test_a_curve_has_its_exponent_once_and_leaves_small_points_out() -> None:
    times = {100: 5.0, 1000: 1.0, 10_000: 10.0, 100_000: 100.0}
    rows = [{"contender": "a", "x": x, "p50_ms": ms} for x, ms in reversed(times.items())]
    table = scaling._curve_table("Curve", "products", [*rows, {"contender": "b", "x": 1, "p50_ms": 2.0}], least=1000)
    assert [row["x"] for row in table.rows] == [100, 1000, 10_000, 100_000, 1]
    assert [row.get("exponent") for row in table.rows] == [None, None, None, pytest.approx(1.0), None]


def test_a_ranking_is_bound_by_reading_its_rows_in_one_byte_or_four() -> None:
    products = [
        {"contender": name, "x": x, "p50_ms": ms}
        for name, ms in (("clipshelf-rank", 51.2), ("clipshelf-rank-fp32", 204.8), ("numpy", 1.0))
        for x in (1_000_000, 1000)
    ]
    int8, fp32 = limit._rank_rows(products, PEAKS)
    assert "1000000" in int8["case"]
    assert int8["memory_ms"] == pytest.approx(512e6 / 20e9 * 1e3)
    assert fp32["memory_ms"] == pytest.approx(4 * int8["memory_ms"])
    assert int8["share"] == fp32["share"] == pytest.approx(0.5)


def test_recall_is_taken_against_the_exact_answer(tmp_path: Path) -> None:
    matrix, queries = tmp_path / "matrix.npy", tmp_path / "queries.npy"
    np.save(matrix, inputs.unit_rows(200, 16, seed=0))
    np.save(queries, ranking._queries(matrix)[:3])
    exact = ranking._exact(matrix, queries)
    scores = np.load(queries) @ np.load(matrix).T
    assert [set(row) for row in exact.tolist()] == [set(row) for row in np.argsort(-scores)[:, :10].tolist()]
    outputs = {}
    for name, rows in (("clipshelf-rank", exact), ("half", np.concatenate((exact[:, :5], -exact[:, 5:] - 1), axis=1))):
        outputs[name] = tmp_path / f"{name}.npy"
        np.save(outputs[name], rows)
    race = Race({"rank": {"half": [[2.0]], "clipshelf-rank": [[1.0]]}}, {"rank": outputs})
    found = ranking._rows(race, Heat("rank", "rank", queries, 3), 200, exact)
    assert [(row["contender"], row["recall"]) for row in found] == [("clipshelf-rank", 1), ("half", 0.5)]
    assert found[1]["ratio"] == 0.5


def _starter(seconds: dict[str, float], started: list[str]) -> Callable[[type[Contender]], float]:
    def start(contender: type[Contender]) -> float:
        started.append(contender.name)
        if contender.name not in seconds:
            raise ContenderError("no such library")
        return seconds[contender.name]

    return start


def test_cold_starts_do_not_count_the_first_of_cold_files(setup: Setup) -> None:
    started: list[str] = []
    able = [fakes.Slow, Ours, fakes.Broken]
    start = _starter({"clipshelf": 0.5, "slow": 2.0}, started)
    rows, fallen = cold._rows(setup, "case", able, start, warm=False)
    assert [(row["contender"], row["p50_ms"], row.get("ratio")) for row in rows] == [
        ("clipshelf", 500, None),
        ("slow", 2000, 0.25),
    ]
    assert fallen == {"broken": "no such library"}
    assert [started.count(name) for name in ("clipshelf", "slow", "broken")] == [3, 3, 1]
    started.clear()
    assert cold._rows(setup, "case", able, start, warm=True) == (rows, fallen)
    assert [started.count(name) for name in ("clipshelf", "slow", "broken")] == [2, 2, 1]


def test_memory_of_what_ships(tmp_path: Path) -> None:
    subject = _subject(tmp_path)
    assert process._shipped(subject, fakes.Fast, 100) == {}
    (subject.prepared("fast")).mkdir()
    (subject.prepared("fast") / "graph").write_bytes(bytes(50))
    assert process._shipped(subject, fakes.Fast, 100) == {"disk_mb": 50e-6, "disk_share": 0.5}
    assert process._shipped(subject, fakes.Fast, None) == {"disk_mb": 50e-6}


def test_both_tasks_are_from_bytes_and_words_where_they_can_be(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photo_heat", "image_heat", "sentence_heat", "text_heat"):
        task = {"photo_heat": "photos", "sentence_heat": "sentences"}.get(name, name.removesuffix("_heat"))
        monkeypatch.setattr(Setup, name, lambda *_, task=task: Heat(task, task, Path(), 1))
    subject = _subject(setup.folder)
    assert [heat.task for heat in process.both_tasks(setup, subject, fakes.Slow)] == ["image", "text"]
    monkeypatch.setattr(fakes.Slow, "openers", lambda _: dict.fromkeys(("image", "photos", "text", "sentences")))
    assert [heat.task for heat in process.both_tasks(setup, subject, fakes.Slow)] == ["photos", "sentences"]


class _Process:
    """Grows by a megabyte at each look, and takes 2 ms for a call."""

    def __init__(self, *_: object) -> None:
        self.calls, self.looks = 0, 0

    def ask(self, **message: Any) -> dict[str, Any]:
        if message["do"] == "memory":
            self.looks += 1
            return {"rss_mb": 99.0 + self.looks, "peak_mb": 200.0}
        count = message.get("count", 0)
        self.calls += count
        return {"ms": [2.0 * message.get("batch", 1)] * count}

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_soak_looks_at_the_memory_after_warming_up(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Process()
    monkeypatch.setattr(soak, "Process", lambda *_: fake)
    monkeypatch.setattr(soak, "prepare", lambda *_: None)
    monkeypatch.setattr(soak, "dimension", lambda _: 4)
    rows, skipped = soak._rows(setup, _subject(setup.folder), setup.folder, 40)
    assert (rows[0]["calls"], rows[-1]["calls"], fake.calls) == (20, 40, 40)
    assert rows[0]["growth_percent"] == 0
    assert rows[-1]["growth_percent"] == pytest.approx(len(rows) - 1)
    assert not skipped


def test_feeding_compares_pictures_with_pictures(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "Process", _Process)
    heats = [Heat("1000x1000", "photos", Path(), 24)]
    rows = feeding._rows(setup, _subject(setup.folder), heats, 2)
    assert [(row["graph_ms"], row["p50_ms"], row["share"]) for row in rows] == [(2.0, 2.0, 1.0)]


def test_a_shelf_is_read_back(tmp_path: Path) -> None:
    products = read_products(inputs.write_products(tmp_path / "shelf", 2, 8, seed=0))
    assert [text for text, _ in products] == inputs.sentences(2, seed=0)
    assert all(picture.startswith(b"\xff\xd8") for _, picture in products)
    text, photo = read(inputs.write_query(tmp_path / "query", 8, seed=0))
    assert (text, photo[:2]) == (inputs.REVIEW, b"\xff\xd8")
