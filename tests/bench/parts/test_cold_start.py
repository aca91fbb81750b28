from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.parts import cold_start
from clipshelf_bench.race.process import ContenderError
from support import fake_contenders as fakes


def _starter(seconds: dict[str, float], started: list[str]) -> Callable[[type[Contender]], float]:
    def start(contender: type[Contender]) -> float:
        started.append(contender.name)
        if contender.name not in seconds:
            raise ContenderError("no such library")
        return seconds[contender.name]

    return start


def test_the_first_start_counts_only_where_files_are_cached(tmp_path: Path) -> None:
    started: list[str] = []
    bench = fakes.make_bench(tmp_path)
    contenders = [fakes.Slow, fakes.Ours, fakes.Broken]
    start = _starter({"clipshelf": 0.5, "slow": 2.0}, started)
    rows, failed = cold_start._rows(bench, "case", contenders, start, cached=False)
    assert [(row["contender"], row["p50_ms"], row.get("ratio")) for row in rows] == [
        ("clipshelf", 500, None),
        ("slow", 2000, 0.25),
    ]
    assert failed == {"broken": "no such library"}
    assert [started.count(name) for name in ("clipshelf", "slow", "broken")] == [3, 3, 1]
    started.clear()
    assert cold_start._rows(bench, "case", contenders, start, cached=True) == (rows, failed)
    assert [started.count(name) for name in ("clipshelf", "slow", "broken")] == [2, 2, 1]
