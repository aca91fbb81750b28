"""Finds the largest products of queries with fp16 rows that stay on a device, run by onnxruntime."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.calls import calls
from clipshelf.errors import ProviderUnavailable
from clipshelf.forks import never_destroy_in_child
from clipshelf.runtime import onnx_graphs
from clipshelf.runtime.providers import check_started, not_started
from clipshelf.runtime.quiet_import import ort
from clipshelf.runtime.session import BOUND_DEVICES, open_session, session_options
from clipshelf.runtime.stream import Device
from clipshelf.types import FloatArray, Rows

HalfArray: TypeAlias = npt.NDArray[np.float16]

GROUP = 64  # neighbouring rows whose maximum is searched first
CPU_DEVICE = Device("cpu", 0)


class Terms(NamedTuple):
    """Factors (Q, 1) float32 of the products of queries, and what is added to the products of rows, (n,) float32."""

    scales: FloatArray
    added: FloatArray


class DeviceScan:
    """Runs the graphs `clipshelf.runtime.onnx_graphs.best_products` on a provider. Several threads may share it.

    - `provider`: full name of the provider; rows lie on its device.
    - `dim`: D.
    - `threads`: threads of one run where the provider is the CPU.
    """

    def __init__(self, provider: str, dim: int, *, threads: int) -> None:
        self._provider, self._dim, self._threads = provider, dim, threads
        self._device = BOUND_DEVICES.get(provider, CPU_DEVICE)
        self._lock = threading.Lock()
        self._sessions: dict[bool, ort.InferenceSession] = {}

    def put(self, rows: FloatArray) -> ort.OrtValue:
        """Round rows (n, D) float32 to fp16 on the device, where they stay; n is a multiple of GROUP.

        Raises ProviderUnavailable where the provider does not start, or has no room.
        """
        session = _open(onnx_graphs.to_half(self._dim), self._threads, self._provider)
        try:
            with calls:
                binding = session.io_binding()
                binding.bind_cpu_input("rows", rows)
                value = ort.OrtValue.ortvalue_from_shape_and_type(rows.shape, np.float16, *self._device)
                binding.bind_ortvalue_output("halves", value)
                session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime raises a dozen private classes
            raise ProviderUnavailable(
                f"ranking on {self._provider}: expected room for {rows.nbytes / 2**21:,.0f} MiB of rows on the device, "
                f"found: {error}"
            ) from error
        never_destroy_in_child(value)
        return value

    def best(
        self, rows: ort.OrtValue, queries: HalfArray, k: int, terms: Terms | None = None
    ) -> tuple[FloatArray, Rows]:
        """Find the k largest products of each query with rows that `put` copied.

        - `queries`: (Q, D).
        - `k`: at most n.
        - `terms`: see there; None for the products themselves.

        Returns values (Q, k) float32, largest first, and row numbers (Q, k).
        """
        groups = min(k, rows.shape()[0] // GROUP)
        session = self._session(terms=terms is not None)
        numbers = {"groups": np.array([groups]), "k": np.array([k])}
        feeds: dict[str, npt.NDArray[Any]] = {"queries": queries, **numbers}
        if terms is not None:
            feeds |= {"scales": terms.scales, "terms": terms.added}
        with calls:
            binding = session.io_binding()
            binding.bind_ortvalue_input("rows", rows)
            for name, array in feeds.items():
                binding.bind_cpu_input(name, np.ascontiguousarray(array))
            for name in ("values", "places", "found"):
                binding.bind_output(name)
            session.run_with_iobinding(binding)
            values, places, found = binding.copy_outputs_to_cpu()
        return values, np.take_along_axis(found, places // GROUP, axis=1) * GROUP + places % GROUP

    def _session(self, *, terms: bool) -> ort.InferenceSession:
        """The session with terms or without, opened on first use; ProviderUnavailable where it does not start."""
        with self._lock:
            if terms not in self._sessions:
                graph = onnx_graphs.best_products(self._dim, group=GROUP, terms=terms)
                self._sessions[terms] = _open(graph, self._threads, self._provider)
            return self._sessions[terms]


def _open(graph: bytes, threads: int, provider: str) -> ort.InferenceSession:
    try:
        session = open_session(graph, session_options(threads), provider)
    except Exception as error:
        raise not_started(provider, str(error)) from error
    check_started(provider, session.get_providers()[0])
    return session
