"""What a part hands to the report: tables of plain values, and the curves to draw from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A drawing of a table: bars of `y` per `x`, or lines over a numeric `x`; one group or line per `series`.

    `where` keeps only the rows with these values; `label` is what x is, where the column's name does not say it.
    """

    name: str
    title: str
    kind: str
    x: str
    y: str
    series: str
    log: bool = False
    where: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of one part. Columns that a row lacks are empty; a row's other keys go to JSON only."""

    part: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    plots: Sequence[Plot] = ()
