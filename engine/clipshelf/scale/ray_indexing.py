"""Embeds on Ray Data: tasks read pieces, and actors with one engine each embed chunks.

Back-pressure and retries are Ray's, except where it waits for a node that is lost.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from clipshelf.errors import ClipshelfError
from clipshelf.model.engine import Engine
from clipshelf.scale.chunks import pack, unpack
from clipshelf.scale.index_plan import Plan
from clipshelf.scale.lost_nodes import LostNodeWatch, WorkStopped, begin_again
from clipshelf.scale.ray_runtime import load_ray, load_ray_data, raised_by_task
from clipshelf.scale.steps import Result

# Other than those of a worker: Ray would join both steps, and one worker would embed all of a piece. None, since
# workers that have reserved all CPUs would wait for ever for readers, and these for a CPU.
_READER_CPUS = 0
# Of a step whose worker or node is lost.
_RETRIES = 20
_LOOK_EVERY = 1.0  # seconds, for lost nodes


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

    def run(self, step: Callable[[int], Result], count: int, /) -> Iterator[Result]:
        """Take a step for all numbers, each in a task; raises the error that a step raised."""
        ray = load_ray()
        task, reference = ray.remote(_run).options(max_retries=_RETRIES), ray.put(step)
        try:
            for result in [task.remote(reference, number) for number in range(count)]:
                yield ray.get(result)
        except ray.exceptions.RayTaskError as error:
            raise raised_by_task(error) from error

    def embed(self, plan: Plan) -> Iterator[int]:
        """Embed all chunks, as they come, in as many jobs as it takes; see `lost_nodes.begin_again`."""
        return begin_again("embedding", lambda patience: self._counts(plan, patience))

    def _counts(self, plan: Plan, patience: float) -> Iterator[int]:
        """Embed the chunks that are missing in one job, and yield the number of products of each.

        Raises WorkStopped where it has stopped since a node was lost.
        """
        ray, unfinished = load_ray(), plan.unfinished()
        if not unfinished:
            return
        # On this node, which is not lost before this process is.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        job = ray.remote(num_cpus=0, scheduling_strategy=here)(_Job).remote()
        watch = LostNodeWatch(ray.nodes, patience)
        counts = job.embed.remote(plan, unfinished, self.workers, self.threads, self.provider)
        try:
            while True:
                ready, _ = ray.wait([counts], timeout=_LOOK_EVERY)
                if ready:
                    reference = next(counts, None)
                    if reference is None:
                        return
                    count: int | Exception = ray.get(reference)
                    if isinstance(count, Exception):
                        raise count
                    yield count
                    watch.note_result()
                elif watch.has_stopped():
                    raise WorkStopped("a node was lost, and no chunk was done since")
        finally:
            if ray.is_initialized():  # else Ray would start again to end what has ended with it
                ray.kill(job)  # and with it all that it has started


class _Job:
    """A job of Ray Data in a process of its own, since Ray Data cannot be stopped where it waits."""

    def embed(
        self, plan: Plan, unfinished: Mapping[int, Sequence[int]], workers: int, threads: int, provider: str
    ) -> Iterator[int | Exception]:
        """Embed the chunks that pieces lack, and yield the number of products of each, and what Ray Data raised."""
        data = load_ray_data()
        pieces = [{"piece": number, "embedded": json.dumps(done)} for number, done in unfinished.items()]
        with _one_row_a_block(data):
            chunks = data.from_items(pieces, override_num_blocks=len(pieces)).map_batches(
                _read, fn_args=(plan,), batch_size=1, num_cpus=_READER_CPUS, concurrency=min(workers, len(pieces))
            )
            counts = chunks.map_batches(
                _Embedder,
                fn_constructor_args=(plan, threads, provider),
                batch_size=1,
                concurrency=workers,
                num_cpus=threads,
                num_gpus=1 if provider == "cuda" else None,
            )
        try:
            for row in counts.iter_rows():
                yield pickle.loads(row["error"]) if row["error"] else int(row["products"])
        except Exception as error:  # as Ray Data raised it: Ray would put its own error around it
            yield error


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
        self._load = partial(Engine.load, plan.artifact, threads=threads, provider=provider, limits=plan.limits)

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
