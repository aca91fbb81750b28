"""What the CUDA provider needs beside its name: its libraries, its options, and host memory that the device reads.

https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html describes the options.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import numpy.typing as npt

from clipshelf.runtime.quiet_import import ort

# Bits of this variable choose how onnxruntime multiplies fp16 matrices; 2 keeps partial sums in float32. The gate of
# the exporter and the proof of the ranking count on that.
GEMM_OPTIONS, FLOAT32_SUMS = "ORT_CUDA_GEMM_OPTIONS", "2"
# What onnxruntime says of a graph with a node that CUDA cannot record.
CANNOT_CAPTURE = "graph capture"


@cache
def prepare_cuda() -> None:
    """Load the CUDA libraries of the nvidia packages, and choose sums in float32. Call it before the first session.

    What cannot be loaded shows when the session starts. A value that the environment has for the sums stays.
    """
    os.environ.setdefault(GEMM_OPTIONS, FLOAT32_SUMS)
    if hasattr(ort, "preload_dlls"):  # since onnxruntime 1.21
        with redirect_stdout(StringIO()):  # it prints what it does not find
            ort.preload_dlls()


def provider_options(*, capture: bool) -> dict[str, str]:
    """Options of the CUDA provider.

    - `capture`: whether runs may be recorded as CUDA graphs.

    Norms after a sum are computed in float32, as the gate of the exporter assumes.
    """
    options = {"enable_skip_layer_norm_strict_mode": "1", "use_tf32": "0"}
    return options | ({"enable_cuda_graph": "1"} if capture else {})


def pin(array: npt.NDArray[Any]) -> bool:
    """Lock the memory of an array as long as it lives, so that the device reads it directly.

    Returns False, and changes nothing, where the CUDA runtime is not there or refuses.
    """
    runtime = _cuda_runtime()
    address = array.__array_interface__["data"][0]
    if runtime is None or not array.nbytes or runtime.cudaHostRegister(address, array.nbytes, 0):
        return False
    weakref.finalize(array, runtime.cudaHostUnregister, address).atexit = False
    return True


@cache
def _cuda_runtime() -> Any:
    """The CUDA runtime that onnxruntime was built for, None where it is not there."""
    major = str(getattr(ort, "cuda_version", "") or "").partition(".")[0]
    if not major:
        return None
    try:
        library = ctypes.CDLL(f"libcudart.so.{major}")
    except OSError:
        return None
    library.cudaHostRegister.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
    library.cudaHostUnregister.argtypes = (ctypes.c_void_p,)
    return library
