"""Opens graphs of an artifact, and reports truly where they run.

onnxruntime registers a provider, fails to load it, warns and runs on the CPU. Here a provider either runs or raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import LifoQueue
from typing import TypeAlias

from clipshelf.allocator import trim_memory
from clipshelf.calls import calls
from clipshelf.errors import ArtifactError
from clipshelf.forks import never_destroy_in_child
from clipshelf.interrupts import check_interrupt
from clipshelf.runtime.cuda import CANNOT_CAPTURE, prepare_cuda, provider_options
from clipshelf.runtime.native import Kernels, load_kernels
from clipshelf.runtime.onnx_reader import operator_domains
from clipshelf.runtime.providers import CPU, CUDA, ONNXRUNTIME_VERSION, check_started, not_started
from clipshelf.runtime.quiet_import import ort
from clipshelf.runtime.stream import Device, Feeds, Stream
from clipshelf.types import FloatArray

Port: TypeAlias = tuple[str, Sequence[int]]  # element type and shape of an input or output, -1 for any size

# The domain of the native kernels' operators.
KERNELS_DOMAIN = "clipshelf"
# What runs a graph without the native kernels.
ONNXRUNTIME = "onnxruntime"
# Providers whose inputs and outputs are bound on their own device.
BOUND_DEVICES = {CUDA: Device("cuda", 0)}
# How long a worker thread waits awake for the next node. A longer wait takes cores from the other tower and from
# decoders, a shorter one pays for waking up. Measured in docs/design-notes/runtime.md.
_SPIN_MICROSECONDS = "50"
# Older versions ignore the limit and would spin for a millisecond, so they do not spin at all.
_CAN_LIMIT_SPINNING = tuple(map(int, ONNXRUNTIME_VERSION.split(".")[:2])) >= (1, 26)


class Session:
    """One graph with one output, opened on one provider. Several threads may run it at once.

    - `path`: the graph.
    - `inputs`, `outputs`: the ports that the graph must have, by name.
    - `provider`: full name of the execution provider, see `clipshelf.runtime.providers.resolve_provider`.
    - `threads`: threads of one run.
    - `arena`: whether the CPU provider keeps the memory of a run for the next.
    - `streams`: runs at the same time on a device of its own; each holds the weights. The CPU needs only 1.

    A graph with operators of the native kernels runs on them where the library is there, else on the functions that it
    carries for them.

    Raises ArtifactError where the graph cannot be opened or has other ports, ProviderUnavailable where the provider
    does not start.
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
        streams: int = 1,
    ) -> None:
        options = session_options(threads)
        options.enable_cpu_mem_arena = arena
        # A memory pattern keeps a block for every shape that was seen, and saves no time: docs/design-notes/runtime.md.
        options.enable_mem_pattern = False
        kernels = usable_kernels(path, provider)
        device = BOUND_DEVICES.get(provider)
        try:
            if kernels is not None:
                options.register_custom_ops_library(str(kernels.path))
            sessions = [_open_path(path, options, provider) for _ in range(1 if device is None else streams)]
        except Exception as error:  # onnxruntime raises a dozen private classes
            if provider != CPU and _opens(path, session_options(threads)):
                raise not_started(provider, str(error)) from error
            raise ArtifactError(f"{path}: expected a graph that onnxruntime can open, found: {error}") from error
        self._session = sessions[0][0]
        self.provider = self._session.get_providers()[0]
        check_started(provider, self.provider)
        if kernels is None and has_kernel_operators(path):
            trim_memory()  # that of the weights before onnxruntime unpacked them
        self.kernels = ONNXRUNTIME if kernels is None else kernels.instruction_set
        _check_ports(path, "input", self._session.get_inputs(), inputs)
        _check_ports(path, "output", self._session.get_outputs(), outputs)
        self._output, (_, (_, width)) = next(iter(outputs.items()))
        self._streams: LifoQueue[Stream] | None = None
        if device is not None:
            self._streams = LifoQueue()
            for session, captures in sessions:
                self._streams.put(Stream(session, output=self._output, width=width, device=device, captures=captures))

    def run(self, feeds: Feeds) -> FloatArray:
        """Run the graph on an array for each input, by name, and return its output, float32.

        Raises Interrupted before it begins, where the caller of this thread wants its call to end.
        """
        check_interrupt()
        with calls:
            if self._streams is not None:
                return _run_in(self._streams, feeds)
            result: FloatArray = self._session.run([self._output], dict(feeds))[0]
            return result


def _run_in(streams: LifoQueue[Stream], feeds: Feeds) -> FloatArray:
    """Run in the stream that became free last; its buffers are the likeliest to fit."""
    stream = streams.get()
    try:
        return stream.run(feeds)
    finally:
        streams.put(stream)


def usable_kernels(path: Path, provider: str) -> Kernels | None:
    """The library of native kernels, where the graph at `path` has operators of theirs and `provider` is the CPU.

    Raises ArtifactError where the file is no graph, InputError like `clipshelf.runtime.native.load_kernels`.
    """
    return load_kernels() if provider == CPU and has_kernel_operators(path) else None


def has_kernel_operators(path: Path) -> bool:
    """Whether the graph at `path` has operators of the native kernels. Raises ArtifactError where it is no graph."""
    return KERNELS_DOMAIN in operator_domains(path)


def open_session(graph: str | bytes, options: ort.SessionOptions, provider: str) -> ort.InferenceSession:
    """Open a graph, at a path or in memory, on one provider.

    onnxruntime's own fallback to another provider is off, since it prints to standard output.
    """
    return _open(graph, options, provider, capture=False)


def _open_path(path: Path, options: ort.SessionOptions, provider: str) -> tuple[ort.InferenceSession, bool]:
    """Open the graph at `path` on one provider, and say whether its runs can be recorded as CUDA graphs.

    Nodes that CUDA has no kernel for run on the CPU; then nothing can be recorded.
    """
    if provider == CUDA:
        try:
            return _open(str(path), options, provider, capture=True), True
        except Exception as error:
            if CANNOT_CAPTURE not in str(error):
                raise
    return _open(str(path), options, provider, capture=False), False


def _open(graph: str | bytes, options: ort.SessionOptions, provider: str, *, capture: bool) -> ort.InferenceSession:
    selected: list[str | tuple[str, dict[str, str]]] = [provider]
    if provider == CUDA:
        prepare_cuda()
        selected = [(provider, provider_options(capture=capture))]
    with calls:
        session = ort.InferenceSession(graph, options, providers=selected, enable_fallback=0)
    never_destroy_in_child(session)
    return session


def _opens(path: Path, options: ort.SessionOptions) -> bool:
    """Whether the CPU opens a graph that another provider did not."""
    try:
        open_session(str(path), options, CPU)
    except Exception:
        return False
    return True


def session_options(threads: int) -> ort.SessionOptions:
    """Options of every session: no log output, and `threads` workers that go to sleep soon after a run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if _CAN_LIMIT_SPINNING else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # what fails is raised; a host's standard error is not written to
    return options


def _check_ports(path: Path, kind: str, nodes: Sequence[ort.NodeArg], contract: Mapping[str, Port]) -> None:
    """Compare a graph's inputs or outputs with the contract; a dynamic dimension counts as -1."""
    actual = {node.name: (node.type, [d if isinstance(d, int) else -1 for d in node.shape]) for node in nodes}
    expected = {name: (f"tensor({dtype})", list(shape)) for name, (dtype, shape) in contract.items()}
    if actual != expected:
        raise ArtifactError(f"{path}: {kind}s: expected {expected}, found {actual}")
