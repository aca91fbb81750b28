"""Results of parts that were measured one by one, joined to one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipshelf_bench.tables import Plot, Table

# What may differ between runs on the same machine.
_OF_A_RUN = ("date", "commit", "seconds", "failed")


def join_reports(reports: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> tuple[dict[str, Any], list[Table]]:
    """Join reports of one machine.

    - `reports`: parsed results.json.
    - `parts`: names of all parts, in the order of a report.

    Returns what was measured on, with all dates and commits, and the tables in the order of the parts.
    Raises ValueError for reports of machines, packages or numbers of threads that differ, and for a table that two of
    them have.
    """
    tables: dict[str, Table] = {}
    for report in reports:
        for values in report["tables"]:
            table = Table(**values | {"plots": [Plot(**plot) for plot in values["plots"]]})
            if table.title in tables:
                raise ValueError(f"expected each table once, found {table.title!r} in two results")
            tables[table.title] = table
    ordered = sorted(tables.values(), key=lambda table: parts.index(table.part))
    return _join_machines([report["machine"] for report in reports]), ordered


def _join_machines(machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    joined = {name: value for name, value in machines[0].items() if name not in _OF_A_RUN}
    for machine in machines[1:]:
        for name in joined.keys() | machine.keys() - set(_OF_A_RUN):
            found = joined.get(name), machine.get(name)
            if found[0] != found[1]:
                raise ValueError(f"{name}: expected results of one machine, found {found[0]!r} and {found[1]!r}")
    for name in ("date", "commit"):
        joined[name] = sorted({str(machine[name]) for machine in machines})
    seconds: dict[str, int] = {}
    failed: dict[str, str] = {}
    for machine in machines:
        for part, value in machine["seconds"].items():
            seconds[part] = seconds.get(part, 0) + value
        failed |= machine.get("failed", {})
    return joined | {"seconds": seconds} | ({"failed": failed} if failed else {})
