from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from clipshelf.workers import Workers, batches


def test_results_come_in_order_and_work_is_started_a_bounded_number_ahead() -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in range(50):
            read += 1
            yield number

    ahead = []
    for done, result in enumerate(Workers(2).map_ahead(lambda number: number * number, numbers(), depth=5)):
        assert result == done * done
        ahead.append(read - done)
    assert max(ahead) <= 6 and read == 50


def test_a_single_item_is_worked_on_in_the_calling_thread() -> None:
    workers = Workers(2)
    assert list(workers.map_ahead(lambda _: threading.current_thread(), [0], depth=2)) == [threading.current_thread()]
    assert threading.current_thread() not in workers.map_ahead(lambda _: threading.current_thread(), range(4), depth=2)
    assert list(workers.map_ahead(str, [], depth=2)) == []


def test_an_exception_is_raised_at_its_items_turn() -> None:
    results = Workers(2).map_ahead(lambda number: 6 // number, [3, 2, 0, 1], depth=4)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_batches_are_lists_of_one_size_and_a_rest() -> None:
    assert list(batches(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


def test_map_starts_all_work_at_once_and_raises_after_all_of_it() -> None:
    together = threading.Barrier(2)
    assert Workers(2).map(lambda number: (together.wait(5), number)[1], [1, 2]) == [1, 2]
    ended: list[int] = []

    def work(number: int) -> None:
        if not number:
            raise ZeroDivisionError
        ended.append(number)

    with pytest.raises(ZeroDivisionError):
        Workers(2).map(work, [0, 1, 2])
    assert sorted(ended) == [1, 2]


def test_work_is_done_by_the_caller_where_no_thread_can_start() -> None:
    workers = Workers(2)
    workers._pool.shutdown()  # as when the interpreter ends
    caller = threading.current_thread()
    assert workers.map(lambda _: threading.current_thread(), range(3)) == [caller] * 3
    future = workers.submit(lambda number: 1 // number, 0)
    with pytest.raises(ZeroDivisionError):
        future.result()
