from __future__ import annotations

from pathlib import Path

import numpy as np
from clipshelf_bench.datasets import inputs
from clipshelf_bench.parts import rank
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceResult


def test_recall_is_measured_against_the_exact_answer(tmp_path: Path) -> None:
    matrix, queries = tmp_path / "matrix.npy", tmp_path / "queries.npy"
    np.save(matrix, inputs.random_unit_rows(200, 16, seed=0))
    np.save(queries, rank._noisy_queries(matrix)[:3])
    exact = rank._exact_rows(matrix, queries)
    scores = np.load(queries) @ np.load(matrix).T
    assert [set(row) for row in exact.tolist()] == [set(row) for row in np.argsort(-scores)[:, :10].tolist()]
    outputs = {}
    for name, rows in (("clipshelf-rank", exact), ("half", np.concatenate((exact[:, :5], -exact[:, 5:] - 1), axis=1))):
        outputs[name] = tmp_path / f"{name}.npy"
        np.save(outputs[name], rows)
    result = RaceResult({"rank": {"half": [[2.0]], "clipshelf-rank": [[1.0]]}}, {"rank": outputs})
    table_rows = rank._case_rows(result, Case("rank", "rank", queries, 3), 200, exact)
    assert [(row["contender"], row["recall"]) for row in table_rows] == [("clipshelf-rank", 1), ("half", 0.5)]
    assert table_rows[1]["ratio"] == 0.5
