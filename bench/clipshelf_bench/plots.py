"""Plots of tables as SVG files, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipshelf_bench.tables import Plot, Table, TableRow, format_value

_OUR_COLOUR, _OTHER_COLOUR = "#c2410c", "#94a3b8"


def draw(plot: Plot, table: Table, folder: Path) -> bool:
    """Draw a plot of a table.

    - `plot`: what to draw.
    - `table`: its rows.
    - `folder`: gets NAME.svg; made where it is missing.

    Returns False, without a file, where fewer than two rows have a value or matplotlib is not installed.
    """
    rows = [row for row in table.rows if _is_drawn(row, plot)]
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    if len(rows) < 2:
        return False
    mpl.use("svg")
    # Text that stays text keeps the files small; a fixed salt and no date give the same file for the same numbers.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "clipshelf", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2 if plot.kind == "line" else 0.6 + 0.28 * len(rows)))
    _draw_lines(axes, plot, rows) if plot.kind == "line" else _draw_bars(axes, plot, rows)
    axes.set_title(plot.title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{plot.name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return True


def _is_drawn(row: TableRow, plot: Plot) -> bool:
    return row.get(plot.y) is not None and all(row.get(name) == value for name, value in plot.where.items())


def _draw_lines(axes: Any, plot: Plot, rows: Sequence[TableRow]) -> None:
    for series in dict.fromkeys(row[plot.series] for row in rows):
        points = sorted((row[plot.x], row[plot.y]) for row in rows if row[plot.series] == series)
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=series)
    if plot.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        measured = sorted({row[plot.x] for row in rows})
        axes.set_xticks(measured, [f"{x:,}" for x in measured])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(plot.label or plot.x)
    axes.set_ylabel(plot.y.replace("_", " "))
    axes.legend(frameon=False)


def _draw_bars(axes: Any, plot: Plot, rows: Sequence[TableRow]) -> None:
    names = [str(row[plot.x]) for row in rows]
    if len({row.get(plot.series) for row in rows}) > 1:
        names = [f"{row.get(plot.series)}: {name}" for row, name in zip(rows, names, strict=True)]
    colours = [_OUR_COLOUR if str(row[plot.x]).startswith("clipshelf") else _OTHER_COLOUR for row in rows]
    bars = axes.barh(range(len(rows)), [row[plot.y] for row in rows], color=colours)
    axes.bar_label(bars, labels=[format_value(row[plot.y]) for row in rows], padding=3)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlabel(plot.y.replace("_", " "))
