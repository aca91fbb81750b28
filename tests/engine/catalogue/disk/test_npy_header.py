"""Headers of NumPy files are read by any number of threads, though Python's parser may fail among them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.disk.checksummed import npy_array
from clipshelf.errors import CatalogueError


def read(content: bytes) -> Any:
    return npy_array(Path("rows.npy"), np.frombuffer(content, np.uint8), [np.float32], (None, 3))


def written(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("failures", [1, 3, 1000])
def test_a_parser_that_fails_among_threads_is_called_again(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    parse, calls = np.lib.format.read_array_header_1_0, []

    def failing(file: Any) -> Any:
        calls.append(file.tell())
        found = parse(file)
        if len(calls) <= failures:
            raise SystemError("AST constructor recursion depth mismatch (before=54, after=60)")
        return found

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", failing)
    if failures < 10:
        assert np.array_equal(read(written(rows)), rows) and set(calls) == {8} and len(calls) == failures + 1
    else:
        with pytest.raises(CatalogueError, match="expected a NumPy file, found: AST constructor"):
            read(written(rows))
