"""What the C library calls: flat functions that take strings, numbers and memoryviews, and return the same.

The sources in `host/` call them with the interpreter's lock held. Engines and recommenders are opaque handles there.
"""

from __future__ import annotations

import gc
from typing import Any, TypeAlias

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.indexing import change
from clipshelf.display import json_text
from clipshelf.errors import ImageError, InputError
from clipshelf.failures import Failure, OnError
from clipshelf.host.arguments import Picture, image, image_limits, products_of, query_of
from clipshelf.host.calls import begin_call, end_call, log_note, set_log
from clipshelf.host.statuses import Status, failure, utf8
from clipshelf.model.engine import Engine
from clipshelf.model.image import Decode
from clipshelf.recommend.answers import Recommendations
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender

__all__ = ["begin_call", "end_call", "failure", "set_log"]  # the C sources call these here, too

# Changes with any function of this module. A library that was built for another number refuses to start.
INTERFACE = 3

Answer: TypeAlias = tuple[list[bytes], list[float], list[float], list[bytes], bytes]
Failed: TypeAlias = tuple[int, int, bytes]  # position, status and message
ChangeOptions: TypeAlias = tuple[float, float, bool]


def open_engine(  # noqa: PLR0917  (C passes them by position)
    artifact: str | None, provider: str, decode: Decode, threads: int, warm: bool, limits: str | None = None
) -> tuple[Engine, int]:
    """Open an engine; returns it and D.

    - `artifact`: its folder, None for the embedded default.
    - `threads`: of one inference, 0 for all CPUs.
    - `warm`: open both towers now.
    - `limits`: a JSON object with the fields of `ImageLimits`, None for the defaults.
    """
    engine = Engine.load(
        artifact, provider, threads or None, decode, limits=None if limits is None else image_limits(limits)
    )
    return (engine.warm() if warm else engine), engine.dim


def embed_texts(engine: Engine, texts: list[str], out: memoryview) -> None:
    """Write n rows of D float32 to `out`, a buffer of exactly that size."""
    _rows(engine, out)[:] = engine.embed_texts(texts)


def embed_images(engine: Engine, pictures: list[Picture], out: memoryview) -> None:
    """Write n rows of D float32 to `out`. Raises ImageError that says which picture cannot be read."""
    failed = embed_images_each(engine, pictures, out)
    if failed:
        raise ImageError(f"images[{failed[0][0]}]: {failed[0][2].decode()}")


def embed_images_each(engine: Engine, pictures: list[Picture], out: memoryview) -> list[Failed]:
    """Write n rows of D float32 to `out`, zeros for a picture that cannot be read. Returns what failed."""
    failures = list[Failure]()
    images = (image(*picture) for picture in pictures)
    _rows(engine, out)[:] = engine.embed_images(images, on_error=failures.append)
    return [(failure.index, int(Status.BAD_IMAGE), utf8(failure.reason)) for failure in failures]


def open_catalogue(engine: Engine, folder: str) -> tuple[Recommender, int]:
    """Open the catalogue in `folder`; returns its recommender and N."""
    catalogue = Catalogue.load(folder)
    return Recommender(engine, catalogue), len(catalogue)


def recommend(recommender: Recommender, arguments: dict[str, Any], more: str | None) -> Answer:
    """Answer a query.

    - `arguments`: of `Recommender.recommend`, with `image` as a `Picture`.
    - `more`: a JSON object with further arguments, and "explain". It names no files of this machine.

    Returns ids, scores, relevances, records as JSON, and the whole answer as JSON. Raises InputError.
    """
    query, explain = query_of(arguments, more)
    return _answer(recommender.answer(query), explain)


def recommend_batch(
    recommender: Recommender, requests: list[tuple[dict[str, Any], str | None] | tuple[int, bytes]]
) -> tuple[list[Answer | None], list[Failed]]:
    """Answer n queries; one that fails has no answer.

    - `requests`: the parameters of `recommend`, or the status and message of a query that has failed already.

    Returns an answer or None for each, and what failed.
    """
    queries: dict[int, tuple[Query, bool]] = {}
    failed: dict[int, Failed] = {}
    for index, request in enumerate(requests):
        try:
            if isinstance(request[0], int):
                failed[index] = index, request[0], bytes(request[1] or b"")
            else:
                queries[index] = query_of(request[0], str(request[1]) if request[1] is not None else None)
        except InputError as error:
            failed[index] = index, *failure(error)
    failures = list[Failure]()
    answers = recommender.recommend_batch([query for query, _ in queries.values()], on_error=failures.append)
    positions = [*queries]
    for entry in failures:
        index = positions[entry.index]
        try:  # alone, for the kind of its error
            answers[entry.index] = recommender.answer(queries[index][0])
        except InputError as error:
            failed[index] = index, *failure(error)
    found: list[Answer | None] = [None] * len(requests)
    for (index, (_, explain)), answer in zip(queries.items(), answers, strict=True):
        if index not in failed:
            found[index] = _answer(answer, explain)
    return found, [failed[index] for index in sorted(failed)]


def products(recommender: Recommender, ids: list[str]) -> Answer:
    """The products with these ids, in order, as an answer without scores. Raises UnknownIdError."""
    catalogue = recommender.catalogue
    records = catalogue.records(catalogue.rows(ids))
    none = [0.0] * len(ids)
    return [utf8(product["id"]) for product in records], none, none, [_json(product) for product in records], b"{}"


def change_catalogue(  # noqa: PLR0917  (C passes them by position)
    recommender: Recommender, folder: str, operation: str, payload: Any, on_error: bool, options: ChangeOptions
) -> tuple[Recommender, int, list[Failed]]:
    """Change the catalogue in `folder` and open it again.

    - `operation`: "reload", "add", "update" or "remove".
    - `payload`: a JSON array of products, ids to remove, None for "reload".
    - `on_error`: whether a product that cannot be used is listed, instead of being raised.
    - `options`: the largest share of products, pictures or texts that may go, the seconds to wait for another writer,
      and whether a product with a text stays without a picture that cannot be read.

    Returns a recommender of the new generation, its number of products, and what failed.
    """
    engine = recommender.engine
    failures = list[Failure]()
    policy: OnError = failures.append if on_error else "raise"
    allow_shrink, timeout, keep_text = options

    def changed(catalogue: Catalogue) -> Catalogue:
        if operation == "remove":
            return catalogue.remove(payload)
        method = catalogue.add if operation == "add" else catalogue.update
        return method(engine, products_of(payload), on_error=policy, keep_text=keep_text, on_warning=log_note)

    if operation != "reload":
        change(folder, changed, allow_shrink=allow_shrink, timeout=timeout)
    catalogue = Catalogue.load(folder)
    failed = [(entry.index, int(Status.INVALID_ARGUMENT), utf8(entry.reason)) for entry in failures]
    return Recommender(engine, catalogue), len(catalogue), failed


def collect() -> None:
    """Free objects in reference cycles that closed handles left behind."""
    gc.collect()


def _rows(engine: Engine, out: memoryview) -> np.ndarray[Any, Any]:
    return np.frombuffer(out, np.float32).reshape(-1, engine.dim)


def _answer(answer: Recommendations, explain: bool) -> Answer:
    return (
        [utf8(item.id) for item in answer],
        [item.score for item in answer],
        [item.relevance for item in answer],
        [_json(item.product) for item in answer],
        _json(answer.to_dict(explain=explain)),
    )


def _json(value: Any) -> bytes:
    return json_text(value).encode()
