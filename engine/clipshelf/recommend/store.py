"""What a recommender needs of the place where products are: a catalogue, shards of one, or another store.

A product is known by its row, an int64 number. Rows are in the order of the union of all products; that order decides
between equal scores. Everything in float64 is computed from what a store returns, in one place, so that answers do not
depend on how products are stored: a store finds candidates by scores that `clipshelf.rank.exact` defines to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.lexical.word_index import WordStatistics
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import Statistics
from clipshelf.recommend.boosts import Added
from clipshelf.types import DoubleArray, FloatArray, Mask, Product, Rows


class Selection(Protocol):
    """Products that a search may find. Each store has selections of its own kind."""

    @property
    def count(self) -> int:
        """The number of these products."""

    @property
    def missing(self) -> AbstractSet[int]:
        """Parts of the store that could not be asked, whose products are not counted."""


class Sides(NamedTuple):
    """The sides of n products.

    - `embeddings`: (n, 2D) float32, image rows | text rows, zeros where a product lacks a side.
    - `present`: (n, 2) bool, which sides each product has.
    """

    embeddings: FloatArray
    present: Mask


@dataclass(frozen=True)
class Search:
    """A search for the candidates of one fused query.

    - `row`: (2D,) float32, the query against the joined matrix.
    - `selection`: the products that may be found.
    - `excluded`: rows of it that are left out.
    - `additions`: what is added to scores.
    - `count`: candidates of each pattern of sides, at the most.
    - `side_factors`: (4,) factors of scores by pattern, see `clipshelf.recommend.calibration`.
    """

    row: FloatArray
    selection: Selection
    excluded: AbstractSet[int]
    additions: tuple[Added, ...]
    count: int
    side_factors: DoubleArray


@dataclass(frozen=True)
class Candidates:
    """What a search finds: for each pattern of sides, ascending, its best products, best first.

    - `rows`: (n,).
    - `patterns`: (n,) uint8.
    - `scores`: (n,) float32 that decide the order within a pattern.
    - `numbers`: (A, n) what `clipshelf.recommend.boosts.addition_values` takes for each of the additions.
    - `missing`: parts of the store that did not answer.
    """

    rows: Rows
    patterns: np.ndarray[Any, np.dtype[np.uint8]]
    scores: FloatArray
    numbers: DoubleArray
    missing: AbstractSet[int] = frozenset()


class ProductStore(Protocol):
    """N products that can be searched. Any number of threads may share one."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """D, the width of one side."""

    @property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""

    @property
    def columns(self) -> Mapping[str, str]:
        """The kind of each column by name, as filters see them."""

    @property
    def words(self) -> WordStatistics | None:
        """What the index of words says of all products, None without one."""

    @property
    def relevance_curve(self) -> RelevanceCurve | None:
        """What was fitted to the shop's own queries, None for nothing."""

    def sample(self) -> FloatArray:
        """Return embeddings (n, 2D) of at most `SAMPLE` products, evenly spaced over the rows (`sample_rows`)."""

    def find(self, ids: Sequence[str]) -> Rows:
        """Return the (n,) rows of n ids, -1 for one that is not there."""

    def select(self, where: Where | str | None) -> Selection:
        """Return the products that a filter lets through, all for None; raises InputError."""

    def count_passing(self, where: Where | str) -> dict[str, int]:
        """Return how many products each term of a filter lets through, by term in words."""

    def parsed(self, where: Where | str) -> Where:
        """Return a filter in words as a dict of conditions; raises InputError."""

    def value(self, row: int, name: str) -> Any:
        """Return the value of one product that `it.NAME` stands for; raises InputError."""

    def count(self, selection: Selection, excluded: AbstractSet[int]) -> int:
        """Return the number of products of a selection that are not excluded."""

    def search(self, searches: Sequence[Search]) -> list[Candidates]:
        """Return the candidates of each search."""

    def fetch(self, rows: Rows) -> Sides:
        """Return the sides of n products."""

    def parts(self, rows: Rows) -> SideParts:
        """Return the pictures and texts of n products that have several; their rows are positions in `rows`."""

    def records(self, rows: Rows) -> list[Product]:
        """Return the records of n products."""

    def group_values(self, name: str, rows: Rows) -> list[Any]:
        """Return the values (n,) of a column that groups, None for a product without one."""

    def without_groups(self, selection: Selection, name: str, rows: Rows) -> Selection:
        """Return a selection without the groups, by a column, that some products belong to."""

    def others(self, selection: Selection, excluded: AbstractSet[int], name: str, row: int) -> Selection:
        """Return the other products of the group of a row that a selection has and that are not excluded."""


# Products by which the scores of a query are calibrated; the relative error of a spread is then about 4 %.
SAMPLE = 1024
