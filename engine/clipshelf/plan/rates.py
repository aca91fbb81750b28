"""What this machine does in a second, measured: the numbers that a plan starts from."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.contents import contents_of_rows
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.model.engine import Engine
from clipshelf.plan.samples import photo, sentences, unit_rows
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.recommender import Recommender

_PICTURES, _TEXTS, _QUERIES, _SCANS = 32, 128, 60, 60
_WARM_UP = 3
_FEW_ROWS, _MANY_ROWS = 20_000, 100_000


@dataclass(frozen=True)
class Rates:
    """Measured rates of one machine.

    - `threads`: CPUs that worked at a time.
    - `dim`: D of the model.
    - `picture`, `text`: CPU seconds to embed one product's picture or text in a batch, decoding included.
    - `queries`: seconds of single queries of a sentence and a photo until both are embedded, on `threads` CPUs.
    - `text_queries`: the same of a sentence alone.
    - `scan`: seconds of a search that do not depend on the number of products.
    - `scan_number`: seconds of a search for each of the 2D numbers of a product, on `threads` CPUs.
    - `jitter`: durations of the same search over their median.
    """

    threads: int
    dim: int
    picture: float
    text: float
    queries: tuple[float, ...]
    text_queries: tuple[float, ...]
    scan: float
    scan_number: float
    jitter: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """The rates for JSON, in seconds."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Rates:
        """Invert `to_dict`. Raises InputError for anything else than rates above 0."""
        if isinstance(data, Mapping) and "rates" in data:
            data = data["rates"]
        names = [field.name for field in fields(cls)]
        if not isinstance(data, Mapping) or (missing := [name for name in names if name not in data]):
            found = f"no {missing[0]}" if isinstance(data, Mapping) else describe(data)
            raise InputError(f"rates: expected what `clipshelf bench --rates --json` prints, found {found}")
        lists = {name: tuple(_positive(name, value) for value in _list(name, data[name])) for name in _LISTS}
        numbers = {name: _positive(name, data[name]) for name in names if name not in _LISTS}
        for name in ("threads", "dim"):
            if not numbers[name].is_integer():
                raise InputError(f"rates: {name}: expected a whole number, found {describe(data[name])}")
        whole = {name: int(numbers.pop(name)) for name in ("threads", "dim")}
        return cls(**whole, **numbers, **lists)  # type: ignore[arg-type]


_LISTS = ("queries", "text_queries", "jitter")


def measure_rates(engine: Engine) -> Rates:
    """Measure the rates of this machine with the model and the threads of an engine; takes some ten seconds."""
    picture = photo()
    pictures = _seconds(lambda: engine.embed_images([picture] * _PICTURES)) / _PICTURES
    words = sentences(_TEXTS)
    texts = _seconds(lambda: engine.embed_texts(words)) / _TEXTS
    rows = unit_rows(2 * _MANY_ROWS, engine.dim).reshape(_MANY_ROWS, 2 * engine.dim)
    few, many = (_scans(rows[:count], engine.threads) for count in (_FEW_ROWS, _MANY_ROWS))
    number = max(median(many) - median(few), 1e-6) / (_MANY_ROWS - _FEW_ROWS) / (2 * engine.dim)
    return Rates(
        threads=engine.threads,
        dim=engine.dim,
        picture=pictures * engine.threads,
        text=texts * engine.threads,
        queries=tuple(_queries(engine, picture)),
        text_queries=tuple(_queries(engine, None)),
        scan=max(1e-6, median(few) - number * _FEW_ROWS * 2 * engine.dim),
        scan_number=number,
        jitter=tuple(seconds / median(many) for seconds in many),
    )


def _seconds(work: Callable[[], object]) -> float:
    """The median duration of some work, after it was done once."""
    work()
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return median(durations)


def _scans(rows: Any, threads: int) -> list[float]:
    ranker = Ranker(rows, threads=threads)
    queries = unit_rows(_SCANS + _WARM_UP, rows.shape[1])
    durations = []
    for query in queries:
        start = time.perf_counter()
        ranker.top_k(query[None], 10)
        durations.append(time.perf_counter() - start)
    return durations[_WARM_UP:]


def _queries(engine: Engine, picture: bytes | None) -> list[float]:
    """Seconds until the text, and the photo if there is one, of each query are embedded."""
    rows = unit_rows(64, engine.dim).reshape(32, 2 * engine.dim)
    recommender = Recommender(engine, Catalogue(contents_of_rows(rows), engine.fingerprint, Path()))
    words = sentences(_QUERIES + _WARM_UP)
    answers = [recommender.recommend(text, picture) for text in words]
    last = "text" if picture is None else "vision"
    return [answer.stages[last][1] / 1000 for answer in answers[_WARM_UP:]]


def _list(name: str, values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)) or not values:
        raise InputError(f"rates: {name}: expected a list of numbers, found {describe(values)}")
    return list(values)


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
        raise InputError(f"rates: {name}: expected a number above 0, found {describe(value)}")
    return float(value)
