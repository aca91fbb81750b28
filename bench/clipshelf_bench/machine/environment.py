"""The environment variables of every process that is measured."""

from __future__ import annotations

import os

# Measured processes run without these. Two make NumPy's OpenBLAS choose the kernels of another processor. With the last
# a checkout is compiled anew at every start, which an installed package, with its bytecode beside it, is not.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment without `UNSET`, and with the same thread limit for every library."""
    inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
    return inherited | dict.fromkeys(_THREAD_LIMITS, str(threads)) | {"TOKENIZERS_PARALLELISM": "false"}
