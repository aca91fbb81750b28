"""What the C library calls: flat functions that take strings, numbers and memoryviews, and return the same.

The sources in `host/` call them with the interpreter's lock held. Engines and recommenders are opaque handles there.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, TypeAlias

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
from clipshelf.failures import Failure
from clipshelf.model.engine import Engine
from clipshelf.model.image import Decode
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender

# Changes with any function of this module. A library that was built for another number refuses to start.
INTERFACE = 1


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

Picture: TypeAlias = tuple[Any, int, int, int, int]
Answer: TypeAlias = tuple[list[bytes], list[float], list[float], list[bytes], bytes]


def failure(error: BaseException) -> tuple[int, bytes]:
    """The status that an exception becomes, and its message in UTF-8."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.INTERNAL)
    message = str(error)
    if status is Status.INTERNAL or not message:
        message = f"{type(error).__name__}: {message}"
    return int(status), _utf8(message)


def open_engine(artifact: str | None, provider: str, decode: Decode, threads: int, warm: bool) -> tuple[Engine, int]:
    """Open an engine; returns it and D.

    - `artifact`: its folder, None for the embedded default.
    - `threads`: of one inference, 0 for all CPUs.
    - `warm`: open both towers now.
    """
    engine = Engine.load(artifact, provider, threads or None, decode)
    return (engine.warm() if warm else engine), engine.dim


def embed_texts(engine: Engine, texts: list[str], out: memoryview) -> None:
    """Write n rows of D float32 to `out`, a buffer of exactly that size."""
    _rows(engine, out)[:] = engine.embed_texts(texts)


def embed_images(engine: Engine, pictures: list[Picture], out: memoryview) -> None:
    """Write n rows of D float32 to `out`. Raises ImageError that says which picture cannot be read."""
    failures = list[Failure]()
    images = (_image(*picture) for picture in pictures)
    rows = engine.embed_images(images, on_error=failures.append)
    if failures:
        raise ImageError(f"images[{failures[0].index}]: {failures[0].reason}")
    _rows(engine, out)[:] = rows


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
    query = _object(more)
    explain = query.pop("explain", False)
    duplicates = sorted(set(query) & set(arguments))
    if duplicates:
        raise InputError(f"json: expected names that the query doesn't set itself, found {', '.join(duplicates)}")
    if "image" in arguments:
        arguments["image"] = _image(*arguments["image"])
    answer = recommender.answer(Query.from_dict({**query, **arguments}))
    return (
        [_utf8(item.id) for item in answer],
        [item.score for item in answer],
        [item.relevance for item in answer],
        [_json(item.product) for item in answer],
        _json(answer.to_dict(explain=bool(explain))),
    )


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


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"json: expected a JSON object, found: {error}") from error
    if not isinstance(data, Mapping):
        raise InputError(f"json: expected a JSON object, found {type(data).__name__}")
    return dict(data)


def _json(value: Any) -> bytes:
    return json_text(value).encode()


def _utf8(text: str) -> bytes:
    """UTF-8; a lone surrogate becomes its escape, as in JSON."""
    return text.encode("utf-8", "backslashreplace")
