"""Batches without waiting: an idle service runs a job at once, a busy one runs together what has come meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeAlias, TypeVar

from clipshelf.serve.metrics import Metrics
from clipshelf.serve.problems import overload

Item = TypeVar("Item")
Result = TypeVar("Result")

# Computes a batch; the result of each item, or why that item has none.
Compute: TypeAlias = Callable[[Sequence[Item]], Sequence[Result | Exception]]


@dataclass(frozen=True)
class _Job(Generic[Item, Result]):
    """An item that waits for its batch; who no longer wants the result cancels the future."""

    item: Item
    future: asyncio.Future[Result]
    queued: float = field(default_factory=time.perf_counter)


class Batcher(Generic[Item, Result]):
    """Collects the items that wait while a batch is computed, and computes them together as the next one.

    - `name`: of the queue, in the metrics.
    - `compute`: called in a thread of `executor`.
    - `batch`: items of a batch at most; `cost` says how much of one an item is, and `most` ends a batch earlier.
    - `queue`: items that may wait; more are refused.
    - `runners`: batches that are computed at one time.
    - `metrics`: where depth, waits and sizes are counted.

    All methods are called by the loop's thread, where futures and the queue live, so nothing is locked.
    """

    def __init__(
        self,
        name: str,
        compute: Compute[Item, Result],
        executor: Executor,
        *,
        batch: int,
        cost: Callable[[Item], int],
        most: int,
        queue: int,
        metrics: Metrics,
        runners: int = 1,
    ) -> None:
        self._compute = compute
        self._executor = executor
        self._batch = batch
        self._cost = cost
        self._most = most
        self._queue = queue
        self._free = runners
        self._waiting: deque[_Job[Item, Result]] = deque()
        self._coming = 0
        self._metrics = metrics
        self._depth = metrics.queue_depth.labels(name)
        self._wait = metrics.queue_wait.labels(name)
        self._size = metrics.batches.labels(name)

    @property
    def is_idle(self) -> bool:
        """Whether an item would be computed at once."""
        return self._free > 0

    def require_room(self, count: int = 1) -> None:
        """Raise ProblemError where the queue has no room for n items, so that nothing is done for them in vain."""
        waiting = self._coming + sum(not job.future.done() for job in self._waiting)
        if waiting + count > self._queue and not (self.is_idle and not waiting):
            self._metrics.shed.labels("queue").inc()
            raise overload(
                f"expected at most {self._queue} queries that wait (--queue), found {waiting} and {count} more"
            )

    @contextlib.contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Keep room for n items while they are made ready, such as queries whose pictures are decoded.

        Who calls `submit` for them at once after the block is not refused. Raises ProblemError where there is no room.
        """
        self.require_room(count)
        self._coming += count
        try:
            yield
        finally:
            self._coming -= count

    def submit(self, items: Sequence[Item]) -> list[asyncio.Future[Result]]:
        """Queue items, all of them or none.

        Returns their futures; one that is cancelled before its batch begins is not computed. Raises ProblemError where
        the queue has no room.
        """
        self.require_room(len(items))
        loop = asyncio.get_running_loop()
        jobs = [_Job[Item, Result](item, loop.create_future()) for item in items]
        self._waiting.extend(jobs)
        self._start()
        return [job.future for job in jobs]

    def _start(self) -> None:
        """Start batches as long as there are items and runners."""
        while self._free and (jobs := self._take()):
            self._free -= 1
            self._size.observe(len(jobs))
            now = time.perf_counter()
            for job in jobs:
                self._wait.observe(now - job.queued)
            done = asyncio.get_running_loop().run_in_executor(self._executor, self._compute, [job.item for job in jobs])
            done.add_done_callback(partial(self._finish, jobs))
        self._depth.set(len(self._waiting))

    def _take(self) -> list[_Job[Item, Result]]:
        """The jobs of the next batch, without those that nobody waits for."""
        jobs: list[_Job[Item, Result]] = []
        cost = 0
        while self._waiting and len(jobs) < self._batch and cost < self._most:
            job = self._waiting.popleft()
            if job.future.done():
                self._metrics.dropped.labels("gone").inc()
            else:
                jobs.append(job)
                cost += self._cost(job.item)
        return jobs

    def _finish(self, jobs: Sequence[_Job[Item, Result]], done: asyncio.Future[Sequence[Result | Exception]]) -> None:
        """Hand the results to the futures, and start the next batch."""
        self._free += 1
        error = None if done.cancelled() else done.exception()
        results = [error or asyncio.CancelledError()] * len(jobs) if done.cancelled() or error else done.result()
        for job, result in zip(jobs, results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, BaseException):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._start()
