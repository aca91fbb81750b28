"""Execution providers: their names, whether this onnxruntime build has them, and the precision that suits each."""

from __future__ import annotations

from collections.abc import Sequence

from clipshelf.errors import ProviderUnavailable
from clipshelf.runtime.quiet_import import ort
from clipshelf.types import Precision

ONNXRUNTIME_VERSION: str = ort.__version__

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
ALIASES = {"cpu": CPU, "cuda": CUDA}
_REPAIRS = {
    CUDA: "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]', on a machine with an NVIDIA driver"
}


def resolve_provider(provider: str) -> str:
    """Full name of an execution provider that this onnxruntime build has.

    - `provider`: "cpu", "cuda", "auto" (CUDA where the build has it, else the CPU), or a name of onnxruntime's own.

    Raises ProviderUnavailable, which names the missing provider and how to get it.
    """
    available = ort.get_available_providers()
    if provider == "auto":
        return CUDA if CUDA in available else CPU
    name = ALIASES.get(provider, provider)
    if name not in available:
        raise ProviderUnavailable(
            f"provider {provider!r}: expected one of {', '.join(available)} (all that this onnxruntime "
            f"{ONNXRUNTIME_VERSION} has), found {name}; to fix it: "
            f"{_REPAIRS.get(name, 'install the onnxruntime build that has it')}"
        )
    return name


def check_started(requested: str, started: str) -> None:
    """Raise ProviderUnavailable where onnxruntime fell back from the `requested` provider to another, `started`."""
    if started != requested:
        raise not_started(requested, f"that onnxruntime could only start {started}")


def not_started(provider: str, found: str) -> ProviderUnavailable:
    """The error of a provider that this build has and that does not start; `found` says what happened."""
    repair = _REPAIRS.get(provider, "check the libraries that it needs")
    return ProviderUnavailable(f"expected {provider}, found {found}; to fix it: {repair}")


def resolve_precision(stored: Sequence[Precision], provider: str) -> Precision:
    """The stored precision that suits a provider: fp16 never on the CPU and first on CUDA, int8 only on the CPU.

    - `stored`: the precisions of the artifact, at least one, the default first.
    - `provider`: full name of the provider.

    Returns the default where no other choice is left. onnxruntime's CPU provider computes fp16 much slower than fp32
    (docs/design-notes/runtime.md).
    """
    unsuitable: Precision = "fp16" if provider == CPU else "int8"
    preferred: list[Precision] = ["fp16"] if provider == CUDA else []
    return next((p for p in (*preferred, *stored) if p in stored and p != unsuitable), stored[0])
