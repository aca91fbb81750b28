"""A bounded memory of values: which ones stay, and what a forked child has."""

from __future__ import annotations

import os

import pytest
from clipshelf.last_used import LastUsed


def test_what_was_not_used_for_the_longest_time_goes() -> None:
    values: LastUsed[str, int] = LastUsed(2)
    made: list[str] = []

    def get(key: str) -> int:
        def make() -> int:
            made.append(key)
            return len(made)

        return values.get(key, make)

    assert [get(key) for key in "abacab"] == [1, 2, 1, 3, 1, 4]
    assert made == ["a", "b", "c", "b"] and len(values) == 2
    assert values.find("c") is None and values.find("a") == 1


def test_none_is_a_value() -> None:
    values: LastUsed[str, None] = LastUsed(2)
    values.put("a", None)
    values.get("a", lambda: pytest.fail("made again"))


def test_the_limit_is_of_sizes_and_a_value_above_it_is_not_kept() -> None:
    values: LastUsed[str, str] = LastUsed(5, len)
    for key, value in (("a", "xx"), ("b", "yyy"), ("a", "zz")):
        values.put(key, value)
    assert (values.find("a"), values.find("b")) == ("zz", "yyy")
    values.put("c", "cc")  # a is the one that was not used for longer
    assert [values.find(key) for key in "abc"] == [None, "yyy", "cc"]
    values.put("large", "l" * 6)
    assert values.find("large") is None and len(values) == 0
    assert values.get("large", lambda: "l" * 6) == "l" * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
def test_a_child_that_is_forked_while_a_value_is_looked_up_does_not_wait() -> None:
    values: LastUsed[str, int] = LastUsed(2, lambda _: _fork_and_look(values))
    values.put("a", 1)


def _fork_and_look(values: LastUsed[str, int]) -> int:
    """Fork while the lock is held, as another thread may; the child must exit by itself."""
    if (child := os.fork()) == 0:
        os._exit(0 if values.find("a") is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return 1
