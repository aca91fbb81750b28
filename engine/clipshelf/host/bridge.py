"""What the C library calls: flat functions that take strings, numbers and memoryviews, and return the same.

The sources in `host/` call them with the interpreter's lock held. Engines and recommenders are opaque handles there.
"""

from __future__ import annotations

import gc
import json
import re
from dataclasses import fields
from enum import IntEnum
from typing import Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.display import json_text
from clipshelf.errors import (
    ArtifactError,
    CatalogueError,
    FingerprintMismatch,
    ImageError,
    InputError,
    ProviderUnavailable,
    UnknownIdError,
)
from clipshelf.failures import Failure, OnError
from clipshelf.model.engine import Engine
from clipshelf.model.image import Decode
from clipshelf.model.image_limits import ImageLimits
from clipshelf.recommend.answers import Recommendations
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender

# Changes with any function of this module. A library that was built for another number refuses to start.
INTERFACE = 2


class Status(IntEnum):
    """The values of `clipshelf_status` in clipshelf.h that stand for exceptions."""

    INVALID_ARGUMENT = 1
    BAD_IMAGE = 3
    UNKNOWN_ID = 4
    BAD_ARTIFACT = 5
    BAD_CATALOGUE = 6
    MODEL_MISMATCH = 7
    NO_PROVIDER = 8
    OUT_OF_MEMORY = 10
    SYSTEM = 11
    INTERNAL = 12


# The first match counts, so a class stands before its base.
_STATUSES: tuple[tuple[type[BaseException], Status], ...] = (
    (ImageError, Status.BAD_IMAGE),
    (UnknownIdError, Status.UNKNOWN_ID),
    (InputError, Status.INVALID_ARGUMENT),
    (UnicodeDecodeError, Status.INVALID_ARGUMENT),
    (ArtifactError, Status.BAD_ARTIFACT),
    (FingerprintMismatch, Status.MODEL_MISMATCH),
    (CatalogueError, Status.BAD_CATALOGUE),
    (ProviderUnavailable, Status.NO_PROVIDER),
    (MemoryError, Status.OUT_OF_MEMORY),
    (OSError, Status.SYSTEM),
)

# `clipshelf_format` of clipshelf.h: Pillow's mode, and the layouts of its raw decoder that fill the mode in turn.
_LAYOUTS = {
    1: ("RGB", ("RGB",)),
    2: ("RGB", ("BGR",)),
    3: ("RGBA", ("RGBA",)),
    4: ("RGBA", ("BGRA",)),
    5: ("RGB", ("R", "G", "B")),  # a gray picture fills each band
}
_OPAQUE = {"RGBA": "RGBX", "BGRA": "BGRX"}

Parsed = TypeVar("Parsed", dict[str, Any], list[dict[str, Any]])

Picture: TypeAlias = tuple[Any, int, int, int, int]
Answer: TypeAlias = tuple[list[bytes], list[float], list[float], list[bytes], bytes]
Failed: TypeAlias = tuple[int, int, bytes]  # position, status and message

# Levels of objects and arrays. A deeper text could need more stack than a thread of the host has.
MAX_DEPTH = 100
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


def failure(error: BaseException) -> tuple[int, bytes]:
    """The status that an exception becomes, and its message in UTF-8."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.INTERNAL)
    message = str(error)
    if status is Status.INTERNAL or not message:
        message = f"{type(error).__name__}: {message}"
    return int(status), _utf8(message)


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
        artifact, provider, threads or None, decode, limits=None if limits is None else _limits(limits)
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
    images = (_image(*picture) for picture in pictures)
    _rows(engine, out)[:] = engine.embed_images(images, on_error=failures.append)
    return [(failure.index, int(Status.BAD_IMAGE), _utf8(failure.reason)) for failure in failures]


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
    query, explain = _query(arguments, more)
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
                queries[index] = _query(request[0], str(request[1]) if request[1] is not None else None)
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
    return [_utf8(product["id"]) for product in records], none, none, [_json(product) for product in records], b"{}"


def change_catalogue(
    recommender: Recommender, folder: str, operation: str, payload: Any, on_error: bool
) -> tuple[Recommender, int, list[Failed]]:
    """Change the catalogue in `folder` and open it again.

    - `operation`: "reload", "add", "update" or "remove".
    - `payload`: a JSON array of products, ids to remove, None for "reload".
    - `on_error`: whether a product that cannot be used is listed, instead of being raised.

    Returns a recommender of the new generation, its number of products, and what failed.
    """
    engine, catalogue = recommender.engine, Catalogue.load(folder)
    failures = list[Failure]()
    policy: OnError = failures.append if on_error else "raise"
    if operation == "add":
        catalogue = catalogue.add(engine, _products(payload), on_error=policy)
    elif operation == "update":
        catalogue = catalogue.update(engine, _products(payload), on_error=policy)
    elif operation == "remove":
        catalogue = catalogue.remove(payload)
    if operation != "reload":
        catalogue.save(folder)
        catalogue = Catalogue.load(folder)
    failed = [(entry.index, int(Status.INVALID_ARGUMENT), _utf8(entry.reason)) for entry in failures]
    return Recommender(engine, catalogue), len(catalogue), failed


def collect() -> None:
    """Free objects in reference cycles that closed handles left behind."""
    gc.collect()


def _rows(engine: Engine, out: memoryview) -> np.ndarray[Any, Any]:
    return np.frombuffer(out, np.float32).reshape(-1, engine.dim)


def _image(data: Any, layout: int, width: int, height: int, stride: int) -> bytes | Image.Image:
    """A picture as the engine takes it: the bytes of a file (layout 0), or one copy of raw pixels."""
    if not layout:
        return bytes(data)
    mode, bands = _LAYOUTS[layout]
    if mode == "RGBA":
        alpha = np.ndarray((height, width), np.uint8, data, offset=3, strides=(stride, 4))
        if alpha.min() == 255:
            mode, bands = "RGB", (_OPAQUE[bands[0]],)
    image = Image.new(mode, (width, height), None)
    for band in bands:
        image.frombytes(data, "raw", band, stride, 1)
    return image


def _query(arguments: dict[str, Any], more: str | None) -> tuple[Query, bool]:
    """The query, and whether its answer is explained."""
    query = {} if more is None else _parse("json", more, dict, "a JSON object")
    explain = query.pop("explain", False)
    duplicates = sorted(set(query) & set(arguments))
    if duplicates:
        raise InputError(f"json: expected names that the query doesn't set itself, found {', '.join(duplicates)}")
    if "image" in arguments:
        arguments["image"] = _image(*arguments["image"])
    return Query.from_dict({**query, **arguments}), bool(explain)


def _answer(answer: Recommendations, explain: bool) -> Answer:
    return (
        [_utf8(item.id) for item in answer],
        [item.score for item in answer],
        [item.relevance for item in answer],
        [_json(item.product) for item in answer],
        _json(answer.to_dict(explain=explain)),
    )


def _limits(text: str) -> ImageLimits:
    found = _parse("limits", text, dict, "a JSON object")
    names = [field.name for field in fields(ImageLimits)]
    if unknown := sorted(found.keys() - set(names)):
        raise InputError(f"limits: expected some of {', '.join(names)}, found {', '.join(unknown)}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return ImageLimits(**values)


def _products(text: str) -> list[dict[str, Any]]:
    return _parse("products", text, list, "a JSON array of objects")


def _parse(name: str, text: str, kind: type[Parsed], expected: str) -> Parsed:
    """The value of a JSON text, which must be of a kind. Raises InputError."""
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        bracket = match[0]
        depth += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise InputError(f"{name}: expected JSON of at most {MAX_DEPTH} levels, found {deepest}")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{name}: expected {expected}, found: {error}") from error
    if not isinstance(data, kind):
        raise InputError(f"{name}: expected {expected}, found {type(data).__name__}")
    return data


def _json(value: Any) -> bytes:
    return json_text(value).encode()


def _utf8(text: str) -> bytes:
    """UTF-8; a lone surrogate becomes its escape, as in JSON."""
    return text.encode("utf-8", "backslashreplace")
