"""Requests per second of each client: a bucket of tokens that fills with time."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from clipshelf.serve.metrics import Metrics
from clipshelf.serve.problems import ProblemError

_BURST = 2.0  # seconds of the rate that a client may use at once
_CLIENTS = 10_000  # remembered; the one that was idle for longest is forgotten first


@dataclass
class _Bucket:
    tokens: float
    filled: float  # by time.monotonic


class RateLimiter:
    """Counts the requests of clients.

    - `rate`: requests per second for clients without a rate of their own; None for no limit.
    """

    def __init__(self, rate: float | None, metrics: Metrics) -> None:
        self._rate = rate
        self._metrics = metrics
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str, requests: int = 1, rate: float | None = None) -> None:
        """Count requests of a client.

        - `client`: the name of its key, or its address.
        - `requests`: how many, such as the queries of a batch; more than the bucket holds are taken from a full one.
        - `rate`: its own requests per second.

        Raises ProblemError where it has used up its own, with the seconds after which it may come again.
        """
        rate = self._rate if rate is None else rate
        if rate is None:
            return
        most, now = max(1.0, _BURST * rate), time.monotonic()
        bucket = self._buckets.setdefault(client, _Bucket(most, now))
        self._buckets.move_to_end(client)
        bucket.tokens = min(most, bucket.tokens + rate * (now - bucket.filled))
        bucket.filled = now
        needed = min(float(requests), most)
        if bucket.tokens < needed:
            self._metrics.shed.labels("rate").inc()
            wait = math.ceil((needed - bucket.tokens) / rate)
            raise ProblemError(
                429,
                "rate",
                f"expected at most {rate:g} requests per second of this key or address, found more",
                {"Retry-After": str(wait)},
            )
        bucket.tokens -= requests
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
