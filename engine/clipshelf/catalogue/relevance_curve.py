"""The curve that makes of a relevance the probability that a shop's own customers find what they look for.

The relevance r of `clipshelf.recommend.calibration` follows from a model of scores. Its evidence x = -log(-log r) is
minus the logarithm of the number of products that would score higher although they do not fit. A shop's own queries
say how often an answer with that evidence held what was clicked, and

    calibrated relevance = 1 / (1 + exp(-(slope x + intercept)))

(Platt 1999, Probabilistic outputs for support vector machines). The slope is above 0, so that the order of relevances
stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clipshelf.errors import CatalogueError
from clipshelf.types import DoubleArray

# Evidence beyond these counts as these: float64 holds no relevance that tells it apart, or no data speak for it.
LEAST_EVIDENCE, MOST_EVIDENCE = -6.0, 20.0


@dataclass(frozen=True)
class RelevanceCurve:
    """A fitted curve.

    - `slope`: above 0.
    - `intercept`: a finite number.
    - `queries`: number of queries that it was fitted to.
    """

    slope: float
    intercept: float
    queries: int

    def __call__(self, relevance: DoubleArray) -> DoubleArray:
        """Calibrated relevances (n,) of relevances (n,)."""
        logits = self.slope * evidence(relevance) + self.intercept
        calibrated: DoubleArray = np.exp(-np.logaddexp(0.0, -logits))
        return calibrated

    @classmethod
    def from_dict(cls, data: Any) -> RelevanceCurve:
        """The curve that `to_dict` wrote; raises CatalogueError for anything else."""
        values: list[Any] = (
            [data.get(name) for name in ("slope", "intercept", "queries")] if isinstance(data, Mapping) else []
        )
        numbers = [value for value in values if type(value) in (int, float) and math.isfinite(value)]
        if len(numbers) < 3 or numbers[0] <= 0 or type(numbers[2]) is not int:
            raise CatalogueError(f"relevance_curve: expected slope, intercept and queries, found {data!r:.80}")
        return cls(float(numbers[0]), float(numbers[1]), numbers[2])

    def to_dict(self) -> dict[str, float]:
        """The curve as a JSON object."""
        return asdict(self)


def evidence(relevance: DoubleArray) -> DoubleArray:
    """Evidence (n,) of relevances (n,), 0 to 1."""
    with np.errstate(divide="ignore"):
        values: DoubleArray = -np.log(-np.log(relevance))
    return np.clip(values, LEAST_EVIDENCE, MOST_EVIDENCE)
