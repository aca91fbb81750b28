"""Queries to answers in JSON: what a batch of waiting queries is computed by, in a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clipshelf.display import json_text
from clipshelf.errors import InputError, ShardLost
from clipshelf.failures import Failure
from clipshelf.recommend.answers import Recommendations
from clipshelf.recommend.query import Query
from clipshelf.serve.facts import RELEVANCE_CUT
from clipshelf.serve.metrics import Metrics
from clipshelf.serve.problems import ProblemError, shard_lost
from clipshelf.serve.product_pictures import image_urls, public_path, public_records
from clipshelf.serve.shelf import Keeper, Shelf

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """A query that waits for its answer.

    - `shelf`: the generation that was current when its pictures were decoded.
    - `explain`: whether the answer has contributions.
    - `received`: when the request came, by `time.perf_counter`.
    - `decode_ms`: milliseconds that its pictures took.
    - `queued`: when it began to wait, by `time.perf_counter`.
    """

    shelf: Shelf
    query: Query
    explain: bool
    received: float
    decode_ms: float
    queued: float


@dataclass(frozen=True)
class Answered:
    """An answer as it is sent.

    - `body`: the JSON object of docs/json.md.
    - `took_ms`: the times in it.
    - `generation`, `fingerprint`: that the products are of.
    - `missing_shards`: numbers of shards whose products it lacks, since these did not answer.
    """

    body: bytes
    took_ms: dict[str, float]
    generation: int
    fingerprint: str
    missing_shards: tuple[int, ...] = ()


class Answering:
    """Answers batches of queries from the generation that is current when a batch begins.

    A query that came before the catalogue changed to another model is answered by the generation that it came to.
    """

    def __init__(self, keeper: Keeper, metrics: Metrics) -> None:
        self._keeper = keeper
        self._metrics = metrics

    def compute(self, asks: Sequence[Ask]) -> list[Answered | Exception]:
        """Answer n queries together, each for itself.

        Returns for each its answer, ProblemError for one that cannot be answered, or what failed.
        """
        with self._keeper.use() as current:
            shelves = [current if _same_model(ask.shelf, current) else ask.shelf for ask in asks]
            results: dict[int, Answered | Exception] = {}
            for shelf in {id(shelf): shelf for shelf in shelves}.values():
                positions = [position for position, each in enumerate(shelves) if each is shelf]
                answers = self._compute(shelf, [asks[position] for position in positions])
                results |= zip(positions, answers, strict=True)
            return [results[position] for position in range(len(asks))]

    def _compute(self, shelf: Shelf, asks: Sequence[Ask]) -> list[Answered | Exception]:
        started = time.perf_counter()
        failures: list[Failure] = []
        try:
            answers = shelf.recommender.recommend_batch([ask.query for ask in asks], on_error=failures.append)
        except Exception as error:
            if len(asks) == 1:
                return [shard_lost(error) if isinstance(error, ShardLost) else error]
            _log.warning("a batch of %d failed with %s: its queries run alone", len(asks), type(error).__name__)
            return [result for ask in asks for result in self._compute(shelf, [ask])]
        reasons = {failure.index: failure.reason for failure in failures}
        return [
            ProblemError(422, "bad-query", reasons[index])
            if index in reasons
            else self._answered(shelf, ask, answer, started)
            for index, (ask, answer) in enumerate(zip(asks, answers, strict=True))
        ]

    def _answered(self, shelf: Shelf, ask: Ask, answer: Recommendations, started: float) -> Answered | Exception:
        try:
            content = public_answer(shelf, answer, explain=ask.explain)
            took_ms = {"queue": _milliseconds(started - ask.queued), "decode": ask.decode_ms, **answer.took_ms}
            took_ms["total"] = _milliseconds(time.perf_counter() - ask.received)
            body = json_text({**content, "took_ms": took_ms}).encode("utf-8", "backslashreplace")
        except ShardLost as error:
            return shard_lost(error)
        except (ValueError, InputError) as error:
            return error
        self._count(answer, took_ms)
        fingerprint = shelf.recommender.engine.fingerprint
        return Answered(body, took_ms, shelf.generation, fingerprint, answer.missing_shards)

    def _count(self, answer: Recommendations, took_ms: dict[str, float]) -> None:
        self._metrics.answers.inc()
        if answer.missing_shards:
            self._metrics.partial_answers.inc()
        if max((item.relevance for item in answer), default=0.0) < RELEVANCE_CUT:
            self._metrics.poor_answers.inc()
        for stage, milliseconds in took_ms.items():
            if milliseconds or stage != "decode":
                self._metrics.stages.labels(stage).observe(1e-3 * milliseconds)


def _same_model(shelf: Shelf, other: Shelf) -> bool:
    return shelf.recommender.engine is other.recommender.engine


def public_answer(shelf: Shelf, answer: Recommendations, *, explain: bool) -> dict[str, Any]:
    """The answer as docs/json.md has it, with the addresses of pictures."""
    content = answer.to_dict(explain=explain)
    items = content["recommendations"]
    products = [item["product"] for item in items]
    addresses = image_urls(shelf, products, [item.get("picture") for item in items])
    for item, product, address in zip(items, public_records(products), addresses, strict=True):
        item["product"], item["image_url"] = product, address
        for part in (part for each in item.get("contributions", ()) for part in each.get("parts", ())):
            part["path"] = part["path"] and public_path(part["path"])
        members = item.get("group", {}).get("members", ())
        for member, record in zip(members, public_records([member["product"] for member in members]), strict=True):
            member["product"] = record
    return content


def server_timing(took_ms: dict[str, float]) -> str:
    """The value of the header Server-Timing."""
    return ", ".join(f"{stage};dur={milliseconds:g}" for stage, milliseconds in took_ms.items())


def _milliseconds(seconds: float) -> float:
    return round(1e3 * seconds, 3)
