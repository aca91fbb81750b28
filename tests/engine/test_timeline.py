from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from clipshelf.timeline import Timeline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sets `time.perf_counter`: readings in seconds, the next one first."""
    readings: list[float] = []
    monkeypatch.setattr(time, "perf_counter", lambda: readings.pop(0))
    return readings


def test_a_stage_is_recorded_in_milliseconds_since_the_start(clock: list[float]) -> None:
    clock += [100.0, 100.25, 100.5, 100.75]
    timeline = Timeline()
    with timeline.stage("text"):
        pass
    assert timeline.spans() == {"text": (250.0, 500.0)}
    assert timeline.milliseconds("text") == 250.0 and timeline.milliseconds("vision") == 0.0
    assert timeline.total() == 750.0 and not clock


def test_laps_follow_each_other(clock: list[float]) -> None:
    clock += [100.0, 100.25, 101.0]
    timeline = Timeline()
    timeline.lap("first")
    timeline.lap("second")
    assert timeline.spans() == {"first": (0.0, 250.0), "second": (250.0, 1000.0)}


def test_a_stage_that_runs_again_counts_from_its_first_start_to_its_last_end(clock: list[float]) -> None:
    clock.append(100.0)
    timeline = Timeline()
    for start, end in ((100.5, 100.75), (100.25, 100.375), (100.625, 101.0)):
        timeline.record("decode", start, end)
    assert timeline.spans() == {"decode": (250.0, 1000.0)}


def test_milliseconds_are_rounded_to_a_microsecond(clock: list[float]) -> None:
    clock += [0.0, 1.23456789]
    timeline = Timeline()
    timeline.record("fuse", 0.0, 0.0012345678)
    assert timeline.milliseconds("fuse") == 1.235 and timeline.total() == 1234.568


def test_a_stage_that_fails_is_recorded_too() -> None:
    timeline = Timeline()
    with pytest.raises(ZeroDivisionError), timeline.stage("search"):
        raise ZeroDivisionError
    start, end = timeline.spans()["search"]
    assert 0 <= start <= end <= timeline.total()


def test_spans_are_a_copy() -> None:
    timeline = Timeline()
    timeline.lap("fuse")
    timeline.spans().clear()
    assert list(timeline.spans()) == ["fuse"]


def test_threads_may_record_at_the_same_time() -> None:
    timeline = Timeline()
    start = time.perf_counter()

    def record(number: int) -> None:
        for i in range(200):
            timeline.record("decode", start + number, start + number + i)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    first, last = timeline.spans()["decode"]
    assert last - first == pytest.approx(1e3 * (7 + 199))
