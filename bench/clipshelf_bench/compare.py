"""Two reports of the bench, old and new: which ratios moved beyond their intervals.

Ratios of clipshelf to a contender are compared, not times: both sides of a ratio ran on the same machine in the same
minutes, so two machines, or two moods of one, can be compared. A ratio moved when the two intervals do not overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Move:
    """One ratio in both reports. `verdict` is faster, slower, same, gone or new."""

    part: str
    case: str
    contender: str
    verdict: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.verdict:6}  {self.part}: {self.case}: against {self.contender}: {self.old} -> {self.new}"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Move]:
    """All ratios that either report has of the parts that both ran, those that moved first."""
    shared = {table["part"] for table in old["tables"]} & {table["part"] for table in new["tables"]}
    before, after = dict(_ratios(old, shared)), dict(_ratios(new, shared))
    moves = [_move(key, before.get(key), after.get(key)) for key in before | after]
    order = ("slower", "faster", "gone", "new", "same")
    return sorted(moves, key=lambda move: (order.index(move.verdict), move.part, move.case, move.contender))


def _ratios(report: Mapping[str, Any], parts: Collection[str]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    for table in (table for table in report["tables"] if table["part"] in parts):
        for row in table["rows"]:
            if "ratio" in row:
                yield (table["title"], str(row["case"]), str(row["contender"])), row


def _move(key: Key, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Move:
    if old is None or new is None:
        verdict = "new" if old is None else "gone"
    elif new["low"] > old["high"]:
        verdict = "slower"
    else:
        verdict = "faster" if new["high"] < old["low"] else "same"
    return Move(*key, verdict, _shown(old), _shown(new))


def _shown(row: Mapping[str, Any] | None) -> str:
    return "none" if row is None else f"{row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
