"""What a part hands to the report: tables of plain values, and the plots to draw from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

TableRow: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A plot of one table.

    - `name`: file name without its ending, unique among all plots of a report.
    - `title`: the line above the plot.
    - `kind`: "bar" draws a bar of `y` for each `x`; "line" draws `y` over a numeric `x`.
    - `x`, `y`: columns of the table.
    - `series`: the column that groups bars or separates lines.
    - `log`: whether both axes are logarithmic, for lines.
    - `where`: only rows that have these values are drawn.
    - `label`: text below the horizontal axis of a line plot; the name of `x` where it is empty.
    """

    name: str
    title: str
    kind: Literal["bar", "line"]
    x: str
    y: str
    series: str
    log: bool = False
    where: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of one part.

    - `part`: name of the part, as on the command line.
    - `title`: heading of the table.
    - `columns`: columns that are shown, in order. A column that a row lacks is empty there; keys of a row that are not
      among the columns go to JSON only. `compare` reads the keys `case`, `contender`, `ratio`, `low` and `high`.
    - `rows`: values by column.
    - `notes`: paragraphs below the heading.
    - `skipped`: why contenders are missing, by name.
    - `plots`: the plots to draw from the rows.
    """

    part: str
    title: str
    columns: Sequence[str]
    rows: Sequence[TableRow]
    notes: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    plots: Sequence[Plot] = ()


def format_value(value: object, near_one: bool = False) -> str:
    """A value of a table as text: a number has three significant digits, None is empty.

    - `value`: the value.
    - `near_one`: whether a number close to 1 has five decimals.
    """
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if near_one and 0.9 <= abs(value) <= 1 and value != round(value, 3):
        return f"{value:.5f}"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if magnitude < 10 else f"{value:.1f}"
