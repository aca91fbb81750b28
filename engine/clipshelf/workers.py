"""Threads that stay, and work done in them ahead of its use, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from clipshelf.forks import call_in_child

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads that start when they are first needed and stay as long as their owner.

    A forked child starts its own. A process that is about to end starts no threads; work is then done by its caller.

    They stay because memory grows with threads that come and go: malloc gives a new thread one of its arenas, and each
    arena keeps room for the largest picture that was decoded in it (docs/design-notes/runtime.md).

    - `threads`: how many; None is the default of ThreadPoolExecutor, more than there are CPUs.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._start()
        call_in_child(self, Workers._start)

    def _start(self) -> None:
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="clipshelf")

    def submit(self, work: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Start `work(item)` as soon as a thread is free, and return its future."""
        try:
            return self._pool.submit(work, item)
        except RuntimeError:  # the process is about to end, or may have no more threads
            return _done(work, item)

    def try_submit(self, work: Callable[[Item], Result], item: Item) -> bool:
        """Start `work(item)` as soon as a thread is free; False, without the work done, where no thread can start."""
        try:
            self._pool.submit(work, item)
        except RuntimeError:  # as in `submit`
            return False
        return True

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of `work(item)` for all items, in order, all started at once.

        Raises the exception of the first item that has one, after all work has ended.
        """
        futures = [self.submit(work, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def map_ahead(self, work: Callable[[Item], Result], items: Iterable[Item], *, depth: int) -> Iterator[Result]:
        """Yield `work(item)` of each item, in order.

        - `work`: called in the threads; a single item is worked on in the calling thread.
        - `items`: read as far ahead as work is started, by the calling thread.
        - `depth`: items that are started before the result of the first of them is taken, 2 or more.

        An exception of `work` is raised at its item's turn. When the caller stops early, started work is waited for.
        """
        iterator = iter(items)
        first_items = list(islice(iterator, 2))
        if len(first_items) < 2:
            yield from map(work, first_items)
            return
        pending: deque[Future[Result]] = deque(self.submit(work, item) for item in first_items)
        try:
            pending.extend(self.submit(work, item) for item in islice(iterator, depth - len(pending)))
            while pending:
                result = pending.popleft().result()
                pending.extend(self.submit(work, item) for item in islice(iterator, 1))
                yield result
        finally:
            # the caller may close what the threads still read
            wait([future for future in pending if not future.cancel()])


def _done(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """The future of work that is done at once, in the calling thread."""
    future = Future[Result]()
    try:
        future.set_result(work(item))
    except Exception as error:
        future.set_exception(error)
    return future


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items in order, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
