"""A report: RESULTS.md, results.json and plots from the tables of all parts, and one table as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clipshelf_bench.contenders.roster import CONTENDERS
from clipshelf_bench.load.services import SERVICES
from clipshelf_bench.plots import draw
from clipshelf_bench.tables import Table, TableRow, format_value

RESULTS_FILE, PLOTS_FOLDER = "results.json", "plots"
# Columns of numbers near 1, where the distance to 1 matters.
_NEAR_ONE = ("cosine", "cosine_min", "centred", "centred_min", "overlap")
_HEAD = """# Results

Written by `python -m clipshelf_bench`; do not edit. Every contender ran in a process of its own, in rounds of random
order, on the same inputs and with the same number of threads. Times are milliseconds of this machine in this hour:
believe the ratios, which were taken in one sitting for each table. Contenders ran without the environment variables
{unset}, which slow NumPy and the start of Python where they are set.
"""


def write_report(out: Path, machine: Mapping[str, Any], tables: Sequence[Table], unset: Sequence[str]) -> None:
    """Write RESULTS.md, results.json and plots/*.svg.

    - `out`: a folder, made where it is missing.
    - `machine`: what was measured on, from `machine.description`.
    - `tables`: the tables of all parts.
    - `unset`: environment variables that contenders ran without.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULTS_FILE).write_text(to_json(machine, tables))
    drawn = {plot.name for table in tables for plot in table.plots if draw(plot, table, out / PLOTS_FOLDER)}
    (out / "RESULTS.md").write_text(to_markdown(machine, tables, unset, drawn))


def to_json(machine: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """The text of results.json: `machine`, and under `tables` all fields of each table."""
    report = {"machine": machine, "tables": [asdict(table) for table in tables]}
    return json.dumps(report, indent=1, default=str) + "\n"


def to_markdown(
    machine: Mapping[str, Any], tables: Sequence[Table], unset: Sequence[str], drawn: set[str] | frozenset[str]
) -> str:
    """The text of RESULTS.md.

    - `machine`, `tables`, `unset`: as for `write_report`.
    - `drawn`: names of the plots that have a file.
    """
    sections = [_HEAD.format(unset=", ".join(unset)), _machine_table(machine), *_contender_sections(tables)]
    for table in tables:
        sections.append(f"## {table.title}\n\n" + "\n\n".join(table.notes))
        sections.append(markdown_table(table))
        sections += [f"![{plot.title}]({PLOTS_FOLDER}/{plot.name}.svg)" for plot in table.plots if plot.name in drawn]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def markdown_table(table: Table) -> str:
    """A table as Markdown, numbers aligned to the right; a column without any value is left out."""
    columns = _filled_columns(table)
    numeric = [all(isinstance(row.get(c, 0.0), (int, float)) for row in table.rows) for c in columns]
    lines = ["| " + " | ".join(name.replace("_", " ") for name in columns) + " |"]
    lines.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    lines += ["| " + " | ".join(_cell(row, c) for c in columns) + " |" for row in table.rows]
    return "\n".join(lines)


def text_table(table: Table) -> str:
    """A table for a terminal, with the skipped contenders below it."""
    columns = _filled_columns(table)
    cells = [[name.replace("_", " ") for name in columns]]
    cells += [[_cell(row, c) for c in columns] for row in table.rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    names: dict[str, list[str]] = {}
    for name, reason in sorted(table.skipped.items()):
        names.setdefault(reason, []).append(name)
    skipped = [f"skipped {', '.join(group)}: {reason}" for reason, group in names.items()]
    return "\n".join([table.title, *lines, *skipped])


def _filled_columns(table: Table) -> list[str]:
    return [name for name in table.columns if any(row.get(name) is not None for row in table.rows)]


def _cell(row: TableRow, column: str) -> str:
    """A row's value of a column as text; a ratio with its interval."""
    text = format_value(row.get(column), near_one=column in _NEAR_ONE)
    if column == "ratio" and text:
        return f"{text} [{format_value(row['low'])}, {format_value(row['high'])}]"
    return text


def _machine_table(machine: Mapping[str, Any]) -> str:
    lines = [f"| {name.replace('_', ' ')} | {_join_values(value)} |" for name, value in machine.items()]
    return "\n".join(["| machine | |", "|---|---|", *lines])


def _join_values(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _contender_sections(tables: Sequence[Table]) -> list[str]:
    """A table of the contenders that ran or were skipped, and a list of the reasons for skipping."""
    ran = {str(row["contender"]) for table in tables for row in table.rows if "contender" in row}
    skipped_names: dict[str, set[str]] = {}
    skipped_parts: dict[str, set[str]] = {}
    for table in tables:
        for name, reason in table.skipped.items():
            skipped_names.setdefault(reason, set()).add(name)
            skipped_parts.setdefault(reason, set()).add(table.part)
    listed = ran.union(*skipped_names.values())
    descriptions = {contender.name: contender.description for contender in CONTENDERS}
    descriptions |= {service.name: service.description for service in SERVICES if service.name not in descriptions}
    descriptions |= dict.fromkeys(sorted(ran - set(descriptions)), "")
    rows = [f"| {name} | {text} |" for name, text in descriptions.items() if name in listed]
    sections = ["\n".join(["## Contenders", "", "| contender | what it is |", "|---|---|", *rows])] if rows else []
    lines = [
        f"- {', '.join(sorted(names))}: {reason} ({', '.join(sorted(skipped_parts[reason]))})"
        for reason, names in sorted(skipped_names.items())
    ]
    return [*sections, "Left out, and why:\n\n" + "\n".join(lines)] if lines else sections
