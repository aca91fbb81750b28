"""What the kernel reports about the processor."""

from __future__ import annotations

from pathlib import Path

# Instruction sets with bf16 arithmetic. Without them a library emulates bf16, or computes in fp32 and does not say so.
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def cpuinfo_field(*names: str) -> str:
    """Value of the first line of /proc/cpuinfo that has one of the names; "" where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() in names), "")


def instruction_sets() -> set[str]:
    """Instruction sets by the kernel's names; empty where the kernel does not list them."""
    return set(cpuinfo_field("flags", "Features").split())


def has_bf16() -> bool:
    """Whether the processor computes in bf16; True where the kernel does not list instruction sets."""
    available = instruction_sets()
    return not available or bool(available & _BF16)
