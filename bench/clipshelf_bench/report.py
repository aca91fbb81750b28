"""Tables as Markdown and JSON, plots as SVG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clipshelf_bench.contenders import ALL
from clipshelf_bench.result import Plot, Table

RESULTS, PLOTS = "results.json", "plots"
# Numbers whose distance to 1 matters.
_EXACT = ("cosine", "cosine_min", "centred", "centred_min", "overlap")
_HEAD = """# Results

Written by `python -m clipshelf_bench all`; do not edit. Every contender ran in a process of its own, in rounds of
random order, on the same inputs and with the same number of threads. Times are milliseconds of this machine in this
hour: believe the ratios, which were taken in one sitting. Contenders ran without the environment variables {unset},
which slow NumPy where they are set.
"""


def write(out: Path, machine: Mapping[str, Any], tables: Sequence[Table], unset: Sequence[str]) -> None:
    """Write RESULTS.md, results.json and plots/*.svg into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULTS).write_text(to_json(machine, tables))
    drawn = {plot.name for table in tables for plot in table.plots if draw(plot, table, out / PLOTS)}
    (out / "RESULTS.md").write_text(markdown(machine, tables, unset, drawn))


def to_json(machine: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """Everything that was measured, for `compare` and other programs."""
    report = {"machine": machine, "tables": [asdict(table) for table in tables]}
    return json.dumps(report, indent=1, default=str) + "\n"


def markdown(
    machine: Mapping[str, Any], tables: Sequence[Table], unset: Sequence[str], drawn: set[str] | frozenset[str]
) -> str:
    """The text of RESULTS.md; `drawn` are the names of the plots that there are."""
    parts = [_HEAD.format(unset=" and ".join(unset)), _machine(machine), *_contenders(tables)]
    for table in tables:
        parts.append(f"## {table.title}\n\n" + "\n\n".join(table.notes))
        parts.append(markdown_table(table))
        parts += [f"![{plot.title}]({PLOTS}/{plot.name}.svg)" for plot in table.plots if plot.name in drawn]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def markdown_table(table: Table) -> str:
    """A table's columns as Markdown, numbers to the right; a column that no row fills is left out."""
    columns = _filled(table)
    numeric = [all(isinstance(row.get(c, 0.0), (int, float)) for row in table.rows) for c in columns]
    lines = ["| " + " | ".join(name.replace("_", " ") for name in columns) + " |"]
    lines.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    lines += ["| " + " | ".join(_shown(row, c) for c in columns) + " |" for row in table.rows]
    return "\n".join(lines)


def text_table(table: Table) -> str:
    """A table for a terminal."""
    columns = _filled(table)
    cells = [[name.replace("_", " ") for name in columns]]
    cells += [[_shown(row, c) for c in columns] for row in table.rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    names: dict[str, list[str]] = {}
    for name, reason in sorted(table.skipped.items()):
        names.setdefault(reason, []).append(name)
    skipped = [f"skipped {', '.join(absent)}: {reason}" for reason, absent in names.items()]
    return "\n".join([table.title, *lines, *skipped])


def _filled(table: Table) -> list[str]:
    return [name for name in table.columns if any(row.get(name) is not None for row in table.rows)]


def _shown(row: Mapping[str, Any], column: str) -> str:
    """A row's value of a column; a ratio has its interval beside it."""
    text = cell(row.get(column), exact=column in _EXACT)
    return f"{text} [{cell(row['low'])}, {cell(row['high'])}]" if column == "ratio" and text else text


def cell(value: object, exact: bool = False) -> str:
    """One value: three significant digits, and where `exact`, five for what is close to 1."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if exact and 0.9 <= abs(value) <= 1 and value != round(value, 3):
        return f"{value:.5f}"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if magnitude < 10 else f"{value:.1f}"


def draw(plot: Plot, table: Table, folder: Path) -> bool:
    """Draw a plot as SVG; False where there is nothing to compare or matplotlib is not installed."""
    rows = [r for r in table.rows if all(r.get(k) == v for k, v in plot.where.items()) and r.get(plot.y) is not None]
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    if len(rows) < 2:
        return False
    mpl.use("svg")
    # Text as text keeps the files small; fixed salt and no date keep them the same for the same numbers.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "clipshelf", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2 if plot.kind == "line" else 0.6 + 0.28 * len(rows)))
    _lines(axes, plot, rows) if plot.kind == "line" else _bars(axes, plot, rows)
    axes.set_title(plot.title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{plot.name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return True


def _lines(axes: Any, plot: Plot, rows: Sequence[Mapping[str, Any]]) -> None:
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


def _bars(axes: Any, plot: Plot, rows: Sequence[Mapping[str, Any]]) -> None:
    names = [str(row[plot.x]) for row in rows]
    if len({row.get(plot.series) for row in rows}) > 1:
        names = [f"{row.get(plot.series)}: {name}" for row, name in zip(rows, names, strict=True)]
    colours = ["#c2410c" if str(row[plot.x]).startswith("clipshelf") else "#94a3b8" for row in rows]
    bars = axes.barh(range(len(rows)), [row[plot.y] for row in rows], color=colours)
    axes.bar_label(bars, labels=[cell(row[plot.y]) for row in rows], padding=3)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlabel(plot.y.replace("_", " "))


def _machine(machine: Mapping[str, Any]) -> str:
    lines = [f"| {name.replace('_', ' ')} | {_value(value)} |" for name, value in machine.items()]
    return "\n".join(["| machine | |", "|---|---|", *lines])


def _contenders(tables: Sequence[Table]) -> list[str]:
    """Who took part and what each is; then who was left out of which parts, and why."""
    ran = {str(row["contender"]) for table in tables for row in table.rows if "contender" in row}
    reasons: dict[str, dict[str, set[str]]] = {}
    for table in tables:
        for name, reason in table.skipped.items():
            found = reasons.setdefault(reason, {"names": set(), "parts": set()})
            found["names"].add(name)
            found["parts"].add(table.part)
    about = {contender.name: contender.about for contender in ALL}
    about |= dict.fromkeys(sorted(ran - set(about)), "")
    left_out = {name for found in reasons.values() for name in found["names"]}
    rows = [f"| {name} | {text} |" for name, text in about.items() if name in ran | left_out]
    parts = ["\n".join(["## Contenders", "", "| contender | what it is |", "|---|---|", *rows])] if rows else []
    lines = [
        f"- {', '.join(sorted(found['names']))}: {reason} ({', '.join(sorted(found['parts']))})"
        for reason, found in sorted(reasons.items())
    ]
    return [*parts, "Left out, and why:\n\n" + "\n".join(lines)] if lines else parts


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
