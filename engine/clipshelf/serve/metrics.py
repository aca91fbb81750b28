"""What the service counts and times, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

# Seconds: from a likes-only query on a small catalogue to the deadline.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one service, in a registry of its own.

    Every name begins with `clipshelf_`; memory and CPU time of the process are `process_...`, on Linux.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._histogram(
            "request_seconds", "Time of a request, from its head to its answer.", _SECONDS, ("operation", "status")
        )
        self.stages = self._histogram("stage_seconds", "Time of a stage of an answer.", _SECONDS, ("stage",))
        self.queue_wait = self._histogram("queue_wait_seconds", "Time that a query waited.", _SECONDS, ("queue",))
        self.batches = self._histogram("batch_size", "Items that were computed together.", _BATCHES, ("queue",))
        self.queue_depth = self._gauge("queue_depth", "Queries that wait.", ("queue",))
        self.in_progress = self._gauge("requests_in_progress", "Requests in progress.")
        self.shed = self._counter("shed_requests", "Requests that were refused.", ("reason",))
        self.dropped = self._counter("dropped_queries", "Queries dropped before inference.", ("reason",))
        self.bad_pictures = self._counter("bad_pictures", "Pictures that could not be used.", ("reason",))
        self.answers = self._counter("answers", "Answers to queries.")
        self.poor_answers = self._counter(
            "answers_below_relevance_cut", "Answers whose best relevance is below the cut, or that have no product."
        )
        self.partial_answers = self._counter(
            "partial_answers", "Answers without the products of shards that were lost."
        )
        self.failures = self._counter("failures", "Requests that failed for a reason in the service.")
        self.reload_failures = self._counter("catalogue_reload_failures", "Generations that could not be opened.")
        self.generation = self._gauge("catalogue_generation", "Number of the generation that answers.")
        self.products = self._gauge("catalogue_products", "Products of the generation that answers.")
        self.ready = self._gauge("ready", "1 while the service is ready for requests.")

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...]) -> Histogram:
        return Histogram(f"clipshelf_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"clipshelf_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"clipshelf_{name}", text, labels, registry=self.registry)
