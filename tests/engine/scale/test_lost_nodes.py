"""Work on Ray that has stopped since a node was lost, and is begun again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clipshelf.errors import ClipshelfError, InputError
from clipshelf.scale.lost_nodes import PATIENCE, LostNodeWatch, WorkStopped, begin_again

exceptions = pytest.importorskip("ray.exceptions", reason="needs Ray: pip install 'clipshelf[scale]'")


class Cluster:
    """Nodes, and a clock beside them."""

    def __init__(self, *alive: str) -> None:
        self.alive, self.known = set(alive), set(alive)
        self.time = 1000.0

    def nodes(self) -> list[dict[str, Any]]:
        self.known |= self.alive
        return [{"NodeID": node, "Alive": node in self.alive} for node in self.known]

    def watch(self, patience: float = 10.0) -> LostNodeWatch:
        return LostNodeWatch(self.nodes, patience, clock=lambda: self.time)


def test_work_on_nodes_that_are_there_may_take_any_time() -> None:
    cluster = Cluster("a", "b")
    watch = cluster.watch()
    cluster.time += 10_000
    assert not watch.has_stopped()


def test_work_has_stopped_when_no_result_came_for_the_patience_and_a_node_is_lost() -> None:
    cluster = Cluster("a", "b")
    watch = cluster.watch()
    cluster.time += 9
    watch.note_result()
    cluster.alive.discard("b")
    cluster.time += 9
    assert not watch.has_stopped()
    cluster.time += 2
    assert watch.has_stopped()
    watch.note_result()  # Ray goes on by itself
    assert not watch.has_stopped()


def test_work_that_never_had_a_result_stops_as_well() -> None:
    cluster = Cluster("a", "b")
    watch = cluster.watch()
    cluster.alive.discard("b")
    cluster.time += 11
    assert watch.has_stopped()


def test_a_node_that_joins_may_be_lost_and_one_that_was_lost_before_is_not() -> None:
    cluster = Cluster("a", "b")
    cluster.nodes()
    cluster.alive.discard("b")
    watch = cluster.watch()
    cluster.time += 11
    assert not watch.has_stopped()
    cluster.alive.add("c")
    assert not watch.has_stopped()
    cluster.alive.discard("c")
    assert watch.has_stopped()


def test_slow_results_are_waited_for_longer_but_not_for_the_first_that_comes_late() -> None:
    cluster = Cluster("a", "b")
    watch = cluster.watch()
    cluster.time += 500
    watch.note_result()
    cluster.time += 20
    watch.note_result()
    cluster.alive.discard("b")
    cluster.time += 59
    assert not watch.has_stopped()
    cluster.time += 2
    assert watch.has_stopped()


class Jobs:
    """Jobs that do some of the work each, and then raise an error; the last one ends."""

    def __init__(self, *jobs: tuple[int, BaseException | None]) -> None:
        self._jobs = iter(jobs)
        self.patience: list[float] = []

    def start(self, patience: float) -> Iterator[str]:
        self.patience.append(patience)
        results, error = next(self._jobs)
        yield from ["done"] * results
        if error is not None:
            raise error


LOST = exceptions.NodeDiedError("a node died")


def test_what_a_job_leaves_the_next_one_does() -> None:
    jobs = Jobs((2, WorkStopped("it waits")), (1, LOST), (3, None))
    assert list(begin_again("work", jobs.start)) == ["done"] * 6
    assert jobs.patience == [PATIENCE] * 3


def test_jobs_without_a_result_get_more_patience_and_an_end() -> None:
    jobs = Jobs((1, LOST), *[(0, LOST)] * 9)
    with pytest.raises(ClipshelfError, match="work: expected nodes and workers that stay, found 5 times in a row"):
        list(begin_again("work", jobs.start))
    assert jobs.patience == [PATIENCE] + [PATIENCE * 2**tries for tries in range(5)]


@pytest.mark.parametrize("error", [InputError("expected a folder"), exceptions.ObjectStoreFullError("full")])
def test_other_errors_of_a_job_end_the_work(error: Exception) -> None:
    with pytest.raises(type(error)):
        list(begin_again("work", Jobs((1, error), (1, None)).start))
