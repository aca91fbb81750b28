"""When work on Ray has stopped since a node was lost."""

from __future__ import annotations

from typing import Any

from clipshelf.scale.lost_nodes import LostNodeWatch


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
