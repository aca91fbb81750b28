"""The parts of a running service, and its life: warming, answering, draining."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from clipshelf.errors import ClipshelfError
from clipshelf.model.image_limits import ImageLimits
from clipshelf.runtime.cpus import available_cpus
from clipshelf.serve.answering import Answered, Answering, Ask
from clipshelf.serve.auth import KeyRing
from clipshelf.serve.batching import Batcher
from clipshelf.serve.bodies import BodyReader
from clipshelf.serve.costs import BATCH_COST, cost_of_query, cost_of_source
from clipshelf.serve.embedding_batches import ToEmbed, embed
from clipshelf.serve.metrics import Metrics
from clipshelf.serve.product_pictures import Thumbnails
from clipshelf.serve.query_pictures import QueryPictures
from clipshelf.serve.rates import RateLimiter
from clipshelf.serve.remote_images import RemoteImages
from clipshelf.serve.schemas import MAX_INPUTS
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import Keeper, Shelf, settle_memory
from clipshelf.types import FloatArray

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
State = Literal["starting", "ready", "draining"]


class Service:
    """One process's service around one engine and its products.

    - `keeper`: the products, and the engine that embeds.
    - `settings`: limits and switches.
    - `limits`: what a picture may cost.
    """

    def __init__(self, keeper: Keeper, settings: Settings, limits: ImageLimits) -> None:
        self.keeper = keeper
        self.settings = settings
        self.metrics = Metrics()
        self.state: State = "starting"
        self.connections: Collection[object] = ()  # those that are open, where our server runs the application
        self.bodies = BodyReader(settings, self.metrics)
        decoders = settings.decoders or available_cpus()
        self.decoders = ThreadPoolExecutor(decoders, thread_name_prefix="clipshelf-decode")
        self.writers = ThreadPoolExecutor(2, thread_name_prefix="clipshelf-write")
        self.changes = ThreadPoolExecutor(1, thread_name_prefix="clipshelf-change")  # one change at a time
        self.workers = ThreadPoolExecutor(4, thread_name_prefix="clipshelf-serve")
        remote = RemoteImages(settings.image_hosts, limits.encoded_bytes)
        self.pictures = QueryPictures(limits, self.decoders, self.metrics, remote, decoders=decoders)
        self.keys = None if settings.keys is None else KeyRing.load(settings.keys)
        self.rates = RateLimiter(settings.rate, self.metrics)
        self.thumbnails = Thumbnails(limits)
        self.answers: Batcher[Ask, Answered] = Batcher(
            "recommend",
            Answering(keeper, self.metrics).compute,
            self.workers,
            batch=settings.batch,
            cost=lambda ask: cost_of_query(ask.query),
            most=BATCH_COST,
            queue=settings.queue,
            metrics=self.metrics,
        )
        self.embeddings: Batcher[ToEmbed, FloatArray] = Batcher(
            "embeddings",
            embed,
            self.workers,
            batch=2 * settings.batch,
            cost=lambda item: cost_of_source(item.source),
            most=BATCH_COST,
            queue=max(settings.queue, MAX_INPUTS),
            metrics=self.metrics,
        )
        self.metrics.generation.set_function(lambda: keeper.current.generation)
        self.metrics.products.set_function(lambda: len(keeper.current))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warm the towers and follow the folder of the products while the block runs."""
        tasks = [asyncio.create_task(self._warm()), asyncio.create_task(self._follow())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for pool in (self.decoders, self.workers, self.writers, self.changes):
                pool.shutdown(wait=False, cancel_futures=True)

    async def on_shelf(self, work: Callable[[Shelf], Result]) -> Result:
        """What a function returns for the current generation, which it is given in a thread."""

        def call() -> Result:
            with self.keeper.use() as shelf:
                return work(shelf)

        return await asyncio.get_running_loop().run_in_executor(self.workers, call)

    def drain(self) -> None:
        """Say from now on that the service is not ready; requests are still answered."""
        self.state = "draining"
        self.metrics.ready.set(0)

    async def _warm(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.workers, self.keeper.engine.warm)
        await loop.run_in_executor(self.workers, settle_memory)
        if self.state == "starting":
            self.state = "ready"
            self.metrics.ready.set(1)

    async def _follow(self) -> None:
        """Take up generations that other processes save."""
        loop = asyncio.get_running_loop()
        failed = ""
        while True:
            await asyncio.sleep(self.settings.reload_interval)
            try:
                await loop.run_in_executor(self.workers, self.keeper.refresh)
                failed = ""
            except Exception as error:  # also those of a store's library: the next try may succeed
                self.metrics.reload_failures.inc()
                text = str(error) if isinstance(error, ClipshelfError) else f"{type(error).__name__}: {error}"
                if text != failed:
                    _log.error("catalogue: the generation stays %d: %s", self.keeper.current.generation, text)
                failed = text
