"""Two reports, old and new: which ratios moved beyond their intervals.

Ratios of clipshelf to a contender are compared, not times. Both sides of a ratio ran on the same machine in the same
minutes, so reports of two machines, or of one machine under different load, can be compared. A ratio moved when its
two intervals do not overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

# Title of the table, case and contender.
Key: TypeAlias = tuple[str, str, str]
Verdict: TypeAlias = Literal["slower", "faster", "gone", "new", "same"]

_VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "gone", "new", "same")


@dataclass(frozen=True)
class RatioChange:
    """One ratio in two reports.

    - `table`, `case`, `contender`: where the ratio stands.
    - `verdict`: whether clipshelf became faster or slower; gone and new ratios are in one report only.
    - `old`, `new`: the ratio and its interval as text; "none" where the report has none.
    """

    table: str
    case: str
    contender: str
    verdict: Verdict
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.verdict:6}  {self.table}: {self.case}: against {self.contender}: {self.old} -> {self.new}"


def compare_reports(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[RatioChange]:
    """Compare the ratios of the parts that both reports have.

    - `old`, `new`: parsed results.json.

    Returns all ratios, those that moved first.
    """
    parts = {table["part"] for table in old["tables"]} & {table["part"] for table in new["tables"]}
    old_rows, new_rows = dict(_ratio_rows(old, parts)), dict(_ratio_rows(new, parts))
    changes = [_change(key, old_rows.get(key), new_rows.get(key)) for key in old_rows | new_rows]
    return sorted(changes, key=lambda c: (_VERDICTS.index(c.verdict), c.table, c.case, c.contender))


def _ratio_rows(report: Mapping[str, Any], parts: Collection[str]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    for table in report["tables"]:
        if table["part"] in parts:
            for row in table["rows"]:
                if "ratio" in row:
                    yield (table["title"], str(row["case"]), str(row["contender"])), row


def _change(key: Key, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> RatioChange:
    return RatioChange(*key, _verdict(old, new), _format_ratio(old), _format_ratio(new))


def _verdict(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Verdict:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    if new["low"] > old["high"]:
        return "slower"
    return "faster" if new["high"] < old["low"] else "same"


def _format_ratio(row: Mapping[str, Any] | None) -> str:
    return "none" if row is None else f"{row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
