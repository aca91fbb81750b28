"""What the processor says of itself."""

from __future__ import annotations

from pathlib import Path

# instruction sets with bf16 arithmetic; without them bf16 is emulated, or silently run as fp32
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def field(*names: str) -> str:
    """The first of the kernel's fields with one of the names; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() in names), "")


def flags() -> set[str]:
    """Instruction sets, by the kernel's names; empty where it does not tell."""
    return set(field("flags", "Features").split())


def has_bf16() -> bool:
    """Whether bf16 arithmetic is there; True where the kernel does not tell."""
    found = flags()
    return not found or bool(found & _BF16)
