"""Work done in threads ahead of its use, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, depth: int) -> Iterator[Result]:
    """`work(item)` of each item, in order, started up to `depth` items before it is asked for.

    A single item is worked on in the calling thread. An exception is raised at its item's turn.
    """
    iterator = iter(items)
    first = list(islice(iterator, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="clipshelf") as pool:
        waiting: deque[Future[Result]] = deque(pool.submit(work, item) for item in first)
        try:
            waiting.extend(pool.submit(work, item) for item in islice(iterator, depth - len(waiting)))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(iterator, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items in order, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
