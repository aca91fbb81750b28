"""Embeds on Ray Data: tasks read pieces, and actors with one engine each embed chunks.

Back-pressure and retries are Ray's.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from clipshelf.errors import ClipshelfError
from clipshelf.model.engine import Engine
from clipshelf.scale.chunks import pack, unpack
from clipshelf.scale.index_plan import Plan
from clipshelf.scale.indexing import Result
from clipshelf.scale.ray_runtime import load_ray, load_ray_data, raised_by_task

# Other than those of a worker: Ray would join both steps, and one worker would embed all of a piece. None, since
# workers that have reserved all CPUs would wait for ever for readers, and these for a CPU.
_READER_CPUS = 0
# Of a step whose worker or node is lost.
_RETRIES = 20


@dataclass(frozen=True)
class RayExecutor:
    """Runs a plan on a cluster of Ray that is connected.

    - `workers`: actors that embed.
    - `threads`: of each engine; an actor reserves as many CPUs.
    - `provider`: of each engine, such as cpu or cuda; an actor of cuda reserves a GPU.
    """

    workers: int
    threads: int
    provider: str = "cpu"

    def run(self, step: Callable[[int], Result], count: int) -> Iterator[Result]:
        """Run a step for all numbers, each in a task; raises the error that a step raised."""
        ray = load_ray()
        task, reference = ray.remote(_run).options(max_retries=_RETRIES), ray.put(step)
        try:
            for result in [task.remote(reference, number) for number in range(count)]:
                yield ray.get(result)
        except ray.exceptions.RayTaskError as error:
            raise raised_by_task(error) from error

    def embed(self, plan: Plan) -> Iterator[int]:
        """Embed all chunks, as they come."""
        data = load_ray_data()
        pieces = [{"piece": number, "embedded": json.dumps(done)} for number, done in enumerate(plan.embedded())]
        with _one_row_a_block(data):
            chunks = data.from_items(pieces, override_num_blocks=len(pieces)).map_batches(
                _read, fn_args=(plan,), batch_size=1, num_cpus=_READER_CPUS, concurrency=min(self.workers, len(pieces))
            )
            counts = chunks.map_batches(
                _Embedder,
                fn_constructor_args=(plan, self.threads, self.provider),
                batch_size=1,
                concurrency=self.workers,
                num_cpus=self.threads,
                num_gpus=1 if self.provider == "cuda" else None,
            )
        for row in counts.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])
            yield int(row["products"])


@contextmanager
def _one_row_a_block(data: Any) -> Iterator[None]:
    """Let the data sets that are made in the block have a block for each row.

    A row is a chunk. More of them in a block would all go to one worker.
    """
    context = data.DataContext.get_current()
    size = context.target_max_block_size
    context.target_max_block_size = 1
    try:
        yield
    finally:
        context.target_max_block_size = size


# Errors go to the process of the run as values: Ray Data would print each with pages of its own code.


def _read(batch: Any, plan: Plan) -> Iterator[dict[str, Any]]:
    """The chunks of pieces, one by one, so that few of them are in memory."""
    try:
        for number, embedded in zip(batch["piece"].tolist(), batch["embedded"].tolist(), strict=True):
            for chunk in plan.chunks(number, json.loads(embedded)):
                yield {"chunk": [pack(chunk)], "error": [b""]}
    except ClipshelfError as error:
        yield {"chunk": [b""], "error": [pickle.dumps(error)]}


class _Embedder:
    """One engine in a process of its own."""

    def __init__(self, plan: Plan, threads: int, provider: str) -> None:
        self._plan = plan
        self._load = partial(Engine.load, plan.artifact, threads=threads, provider=provider)

    @cached_property
    def _engine(self) -> Engine:
        return self._load()

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Embed the chunk of a batch of one."""
        [content], [error] = batch["chunk"], batch["error"]
        count = 0
        try:
            if not error:
                count = self._plan.embed(self._engine, unpack(content))
        except ClipshelfError as raised:
            error = pickle.dumps(raised)
        return {"products": [count], "error": [error]}


def _run(step: Callable[[int], Result], number: int) -> Result:
    return step(number)
