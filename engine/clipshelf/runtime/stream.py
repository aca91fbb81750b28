"""Runs a session on a device, with buffers that stay there.

Each shape of input has its own buffers: in host memory that the device reads directly, and on the device. Their
addresses stay, so that a small run can be recorded as a CUDA graph, whose replay spares the start of every kernel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.runtime.cuda import pin
from clipshelf.runtime.quiet_import import ort
from clipshelf.types import FloatArray
from clipshelf.workers import Workers

Feeds: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
Shapes: TypeAlias = tuple[tuple[int, ...], ...]

CAPTURED_BATCH = 8  # the largest batch that is recorded: larger ones keep the device busy by themselves
# A recorded graph and its buffers stay, so their number is bounded; texts have a shape for each length.
CAPTURED_SHAPES = 96
OTHER_SHAPES = 8  # of buffers that are kept for runs that are not recorded, the last ones used
_GRAPH_ID = "gpu_graph_id"
_NOT_CAPTURED = "-1"


class Device(NamedTuple):
    """A device as onnxruntime names it: its kind, as in "cuda", and its number."""

    kind: str
    number: int


class _Buffers:
    """The buffers of one shape of input, bound to a session."""

    def __init__(self, session: ort.InferenceSession, feeds: Feeds, output: str, width: int, device: Device) -> None:
        self.binding = session.io_binding()
        self._host, self._device = {}, {}
        for name, array in feeds.items():
            self._host[name] = np.empty(array.shape, array.dtype)
            pin(self._host[name])
            self._device[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *device)
            self.binding.bind_ortvalue_input(name, self._device[name])
        rows = len(next(iter(feeds.values())))
        self._output = ort.OrtValue.ortvalue_from_shape_and_type((rows, width), np.float32, *device)
        self.binding.bind_ortvalue_output(output, self._output)

    def fill(self, feeds: Feeds) -> None:
        """Copy the inputs to the device."""
        for name, array in feeds.items():
            np.copyto(self._host[name], array)
            self._device[name].update_inplace(self._host[name])

    def result(self) -> FloatArray:
        """A copy of the output."""
        return np.array(self._output.numpy())  # a value on the CPU would share its memory


class Stream:
    """A session on a device, run by a thread of its own: one run at a time, in a stream of its own.

    onnxruntime keeps handles and recorded graphs for each thread that runs a session, so that one thread does.

    - `session`: with one output.
    - `output`, `width`: name and last dimension of the output, which is float32 and has a row for each of the inputs.
    - `device`: where its inputs and its output lie.
    - `captures`: whether the session can record runs.
    """

    def __init__(
        self, session: ort.InferenceSession, *, output: str, width: int, device: Device, captures: bool
    ) -> None:
        self._session, self._output, self._width = session, output, width
        self._device, self._captures = device, captures
        self._captured: dict[Shapes, tuple[_Buffers, ort.RunOptions]] = {}
        self._others: OrderedDict[Shapes, _Buffers] = OrderedDict()
        self._worker = Workers(1)

    def run(self, feeds: Feeds) -> FloatArray:
        """Run the session on an array for each input, and return its output."""
        return self._worker.submit(self._run, feeds).result()

    def _run(self, feeds: Feeds) -> FloatArray:
        buffers, options = self._buffers(feeds)
        buffers.fill(feeds)
        self._session.run_with_iobinding(buffers.binding, options)
        return buffers.result()

    def _buffers(self, feeds: Feeds) -> tuple[_Buffers, ort.RunOptions | None]:
        """The buffers for these inputs, and the options of their run."""
        shapes = tuple(array.shape for array in feeds.values())
        if shapes in self._captured:
            return self._captured[shapes]
        if self._captures and shapes[0][0] <= CAPTURED_BATCH and len(self._captured) < CAPTURED_SHAPES:
            captured = self._make(feeds), _run_options(str(len(self._captured) + 1))
            return self._captured.setdefault(shapes, captured)
        if shapes not in self._others:
            self._others[shapes] = self._make(feeds)
            if len(self._others) > OTHER_SHAPES:
                self._others.popitem(last=False)
        self._others.move_to_end(shapes)
        return self._others[shapes], _run_options(_NOT_CAPTURED) if self._captures else None

    def _make(self, feeds: Feeds) -> _Buffers:
        return _Buffers(self._session, feeds, self._output, self._width, self._device)


def _run_options(graph: str) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, graph)
    return options
