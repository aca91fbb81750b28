from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.native_library import running_kernels


@pytest.fixture(scope="module", params=["off", ""], ids=["onnxruntime", "native"])
def int8_path(request: pytest.FixtureRequest) -> Iterator[str]:
    """What scans int8 rows: onnxruntime, then the best native kernels."""
    with running_kernels(request.param):
        yield request.param
