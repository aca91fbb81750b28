from __future__ import annotations

import threading

from clipshelf.cached import cached_property


class Slow:
    def __init__(self) -> None:
        self.computed = 0
        self.go_on = threading.Event()

    @cached_property
    def value(self) -> int:
        """A value."""
        self.computed += 1
        assert self.go_on.wait(5)
        return self.computed


def test_a_value_is_computed_once_and_kept() -> None:
    slow = Slow()
    slow.go_on.set()
    assert slow.value == slow.value == 1 and slow.computed == 1
    assert vars(slow)["value"] == 1
    assert Slow.value.__doc__ == "A value."


def test_objects_do_not_wait_for_each_other() -> None:
    first, second = Slow(), Slow()
    thread = threading.Thread(target=lambda: first.value)
    thread.start()
    second.go_on.set()
    assert second.value == 1  # while the first is being computed
    first.go_on.set()
    thread.join(5)
    assert first.value == 1
