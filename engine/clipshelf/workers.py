"""Work done in threads ahead of its use, in order and with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads that start when they are first needed and stay as long as their owner; a forked child starts its own.

    malloc gives a new thread any of its arenas, and each of them keeps room for the largest picture that was ever
    decoded there: with threads for each call, memory grew by such a picture every few thousand calls.
    `most` is the number of threads (None: as ThreadPoolExecutor has it, more than there are CPUs).
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._start()

    def _start(self) -> None:
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="clipshelf")
        self._pid = os.getpid()

    def submit(self, work: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Start `work(item)` as soon as a thread is free."""
        if self._pid != os.getpid():
            self._start()
        return self._pool.submit(work, item)

    def map_ahead(self, work: Callable[[Item], Result], items: Iterable[Item], *, depth: int) -> Iterator[Result]:
        """`work(item)` of each item, in order, started up to `depth` items before it is asked for.

        A single item is worked on in the calling thread. An exception is raised at its item's turn.
        """
        iterator = iter(items)
        first = list(islice(iterator, 2))
        if len(first) < 2:
            yield from map(work, first)
            return
        waiting: deque[Future[Result]] = deque(self.submit(work, item) for item in first)
        try:
            waiting.extend(self.submit(work, item) for item in islice(iterator, depth - len(waiting)))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(self.submit(work, item) for item in islice(iterator, 1))
                yield result
        finally:
            # the caller may close what is still being read
            wait([future for future in waiting if not future.cancel()])


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items in order, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
