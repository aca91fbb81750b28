from __future__ import annotations

import numpy as np
from clipshelf import Ranker
from support.matrices import matrix_of


def test_a_score_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(3)
    matrix = matrix_of("normal", 700, 513, rng)
    queries = rng.standard_normal((11, 513)).astype(np.float32)
    together, rows = Ranker(matrix).top_k(queries, 700)
    for query, scores, order in zip(queries, together, rows, strict=True):
        alone = Ranker(matrix[order[5:6]]).top_k(query[None], 1)[0]
        assert alone[0, 0] == scores[5]
