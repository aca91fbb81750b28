"""The one importer of onnxruntime: opens graphs, and tells the truth about where they run.

onnxruntime registers a provider, fails to load it, warns and runs on the CPU. Here a provider either runs or raises.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from clipshelf.errors import ArtifactError, ProviderUnavailable
from clipshelf.runtime import onnx_graphs
from clipshelf.types import FloatArray, Precision

Port: TypeAlias = tuple[str, Sequence[int]]

ALIASES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_CPU = ALIASES["cpu"]
# Providers whose inputs and outputs are bound on their own device, the first of its kind, as the provider itself takes.
_DEVICES = {ALIASES["cuda"]: ("cuda", 0)}
# How long a worker waits awake for the next node. A long wait takes the cores of the other tower or a decoder, none at
# all pays a wake-up for each node, and one below the longest node that runs alone pays it for some. ViT-B/32, 2 cores
# with AVX512-VNNI, medians in ms without, with 20, 50 and 100 us: text of 12 tokens 2.38, 1.83, 1.87, 1.83, and in a
# slow minute 2.7 to 3.5 with 20, 2.65 with 50; while another process had a core, one picture 13.8, 17.4, 17.5, 21.2.
_SPIN_US = "50"
# older ones do not know the bound, and would spin for a millisecond
_BOUNDED = tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 26)
_MEND = {
    "CUDAExecutionProvider": "uninstall onnxruntime, install onnxruntime-gpu, and have a CUDA and cuDNN that it names",
}


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, cut down to the cgroup's CPU quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return count if quota is None else max(1, min(count, int(quota)))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs per period that the cgroup grants, None where it sets no limit. Reads cgroup v2, then v1."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def resolve_provider(provider: str) -> str:
    """Full name of an execution provider that this onnxruntime build has.

    `provider` is "cpu", "cuda", "auto" (CUDA where the build has it, else the CPU) or onnxruntime's own name.
    Raises ProviderUnavailable naming what is missing and how to mend it.
    """
    available = ort.get_available_providers()
    if provider == "auto":
        return ALIASES["cuda"] if ALIASES["cuda"] in available else _CPU
    name = ALIASES.get(provider, provider)
    if name not in available:
        mend = _MEND.get(name, "install the onnxruntime build that has it")
        raise ProviderUnavailable(
            f"provider {provider!r}: expected one of {', '.join(available)} (all that this onnxruntime "
            f"{ort.__version__} has), found {name}; to mend it: {mend}"
        )
    return name


def resolve_precision(stored: Sequence[Precision], provider: str) -> Precision:
    """The precision of `stored` (default first) that suits a provider: fp16 only off the CPU, int8 only on it.

    onnxruntime's CPU provider computes fp16 ten to a hundred times slower than fp32.
    """
    avoided = "fp16" if provider == _CPU else "int8"
    wanted: list[Precision] = ["fp16"] if provider == ALIASES["cuda"] else []
    return next((p for p in (*wanted, *stored) if p in stored and p != avoided), stored[0])


class Session:
    """One graph with one output, opened on one provider.

    `inputs` and `outputs` give the names, types and shapes that the graph must have; -1 stands for any size. With
    `arena` the CPU provider keeps the memory of its runs for the next. Safe to call from several threads at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        inputs: Mapping[str, Port],
        outputs: Mapping[str, Port],
        provider: str,
        threads: int,
        arena: bool,
    ) -> None:
        options = _options(threads)
        options.enable_cpu_mem_arena = arena
        # a memory pattern keeps one block for every shape that was seen: 190 MB more after batches, and no time saved
        options.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # onnxruntime raises a dozen private classes
            raise ArtifactError(f"{path}: expected a graph that onnxruntime can open, found: {error}") from error
        self._session.disable_fallback()
        self.provider = self._session.get_providers()[0]
        if self.provider != provider:
            mend = _MEND.get(provider, "check the libraries that it needs")
            raise ProviderUnavailable(
                f"expected {provider}, found that onnxruntime could only start {self.provider}; to mend it: {mend}"
            )
        _check_ports(path, "input", self._session.get_inputs(), inputs)
        _check_ports(path, "output", self._session.get_outputs(), outputs)
        self._outputs = list(outputs)
        self._device = _DEVICES.get(self.provider)

    def run(self, feeds: Mapping[str, npt.NDArray[np.generic]]) -> FloatArray:
        """Run the graph and return its output."""
        if self._device is not None:
            return self._run_bound(feeds, *self._device)
        result: FloatArray = self._session.run(self._outputs, dict(feeds))[0]
        return result

    def _run_bound(self, feeds: Mapping[str, npt.NDArray[np.generic]], device: str, number: int) -> FloatArray:
        """`run` with each input copied to the device once and the output fetched from it once."""
        binding = self._session.io_binding()  # one per run: threads share the session
        for name, array in feeds.items():
            value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, number)
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, device, number)
        self._session.run_with_iobinding(binding)
        result: FloatArray = binding.get_outputs()[0].numpy()
        return result


class Product:
    """(M, D) float32 times a matrix `weights` (D, n) float32, on so many threads, which go to sleep soon afterwards.

    NumPy's OpenBLAS shares a product of some size between threads that stay awake for more than 20 ms, on cores that
    the towers need.
    """

    def __init__(self, weights: FloatArray, *, threads: int) -> None:
        dim, rows = weights.shape
        self._session = _in_memory(onnx_graphs.product(dim, rows), {"weights": weights}, threads)

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """inputs @ weights, (M, n)."""
        result: FloatArray = self._session.run(["values"], {"inputs": inputs})[0]
        return result


class ScaledProduct:
    """(M, D) uint8 digits times an int8 matrix that onnxruntime has packed for this CPU.

    `weights` (D, n) int8 and `scales` (n,) float32 are handed over without a copy. onnxruntime keeps the packed form of
    the weights and drops the array, so that they exist once.
    """

    def __init__(self, weights: npt.NDArray[np.int8], scales: FloatArray, *, zero: int, threads: int) -> None:
        dim, rows = weights.shape
        graph = onnx_graphs.scaled_product(dim, rows, zero)
        self._session = _in_memory(graph, {"weights": weights, "scales": scales}, threads)

    def __call__(self, digits: npt.NDArray[np.uint8]) -> FloatArray:
        """(digits - zero) @ weights * scales, (M, n): the integer sums are exact, each value is rounded twice."""
        result: FloatArray = self._session.run(["values"], {"inputs": digits})[0]
        return result


def _in_memory(graph: bytes, constants: Mapping[str, npt.NDArray[np.generic]], threads: int) -> ort.InferenceSession:
    """A graph of ours on the CPU, with its constants handed over without a copy."""
    options = _options(threads)
    options.enable_cpu_mem_arena = False  # it rounds every buffer up, and keeps it
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in constants.values()]
    options.add_external_initializers([*constants], values)
    return ort.InferenceSession(graph, options, providers=[_CPU])


def _options(threads: int) -> ort.SessionOptions:
    """Quiet, with workers that go to sleep soon after a run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if _BOUNDED else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def _check_ports(path: Path, kind: str, found: Sequence[ort.NodeArg], expected: Mapping[str, Port]) -> None:
    """Compare a graph's inputs or outputs with the contract; a dynamic dimension counts as -1."""
    ports = {p.name: (p.type, [d if isinstance(d, int) else -1 for d in p.shape]) for p in found}
    wanted = {name: (f"tensor({dtype})", list(shape)) for name, (dtype, shape) in expected.items()}
    if ports != wanted:
        raise ArtifactError(f"{path}: {kind}s: expected {wanted}, found {ports}")
