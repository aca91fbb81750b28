"""Embeds on Ray Data: tasks read pieces, and actors with one engine each embed chunks.

Back-pressure and retries are Ray's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clipshelf.catalogue.typed_columns.column_values import ColumnTally
from clipshelf.failures import Failure
from clipshelf.model.engine import Engine
from clipshelf.scale.chunks import pack, unpack
from clipshelf.scale.indexing import Plan
from clipshelf.scale.ray_runtime import load_ray, load_ray_data

# Other than those of a worker: Ray would join both steps, and one worker would embed all of a piece. None, since
# workers that have reserved all CPUs would wait for ever for readers, and these for a CPU.
_READER_CPUS = 0


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

    def tally(self, plan: Plan) -> Iterable[dict[str, ColumnTally]]:
        """Run `Plan.tally` of all pieces in tasks."""
        ray = load_ray()
        task = ray.remote(_tally)
        reference = ray.put(plan)
        return list(ray.get([task.remote(reference, number) for number in range(len(plan.pieces))]))

    def embed(self, plan: Plan) -> Iterator[int]:
        """Embed all chunks, as they come."""
        data = load_ray_data()
        pieces = [{"piece": number, "embedded": json.dumps(done)} for number, done in enumerate(plan.embedded())]
        with _one_row_a_block(data):
            chunks = data.from_items(pieces, override_num_blocks=len(pieces)).map_batches(
                _read, fn_args=(plan,), batch_size=1, num_cpus=_READER_CPUS, concurrency=self.workers
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
            yield int(row["products"])

    def finish(self, plan: Plan) -> Iterable[list[Failure]]:
        """Run `Plan.finish` of all shards in tasks."""
        ray = load_ray()
        task = ray.remote(_finish).options(max_retries=-1)
        reference = ray.put(plan)
        return list(ray.get([task.remote(reference, shard) for shard in range(plan.shards)]))


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


def _read(batch: Any, plan: Plan) -> Iterator[dict[str, Any]]:
    """The chunks of pieces, one by one, so that few of them are in memory."""
    for number, embedded in zip(batch["piece"].tolist(), batch["embedded"].tolist(), strict=True):
        for chunk in plan.chunks(number, json.loads(embedded)):
            yield {"chunk": [pack(chunk)]}


class _Embedder:
    """One engine in a process of its own."""

    def __init__(self, plan: Plan, threads: int, provider: str) -> None:
        self._plan = plan
        self._engine = Engine.load(plan.artifact, threads=threads, provider=provider)

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Embed chunks."""
        return {"products": [self._plan.embed(self._engine, unpack(content)) for content in batch["chunk"]]}


def _tally(plan: Plan, number: int) -> dict[str, ColumnTally]:
    return plan.tally(number)


def _finish(plan: Plan, shard: int) -> list[Failure]:
    return plan.finish(shard)
