"""How much memory this process may use."""

from __future__ import annotations

import os

from clipshelf.runtime.cgroups import memory_limit


def available_memory() -> int | None:
    """Bytes of memory of this machine, or what the control groups of this process grant if less; None if unknown."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf, and a system may not know the name
        machine = -1
    known = [size for size in (machine, memory_limit()) if size is not None and size > 0]
    return min(known, default=None)
