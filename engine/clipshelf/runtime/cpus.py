"""How many CPUs this process may use."""

from __future__ import annotations

import os

from clipshelf.errors import InputError
from clipshelf.runtime.cgroups import cpu_quota

MAX_THREADS = 256  # of one inference or search, on a machine that does not have more CPUs


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, limited by the quotas of its control groups. At least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, int(quota)))


def resolve_threads(threads: int | None) -> int:
    """The number of threads itself, or `available_cpus()` for None.

    Raises InputError unless it is 1 to MAX_THREADS, or to the number of CPUs where there are more.
    """
    if threads is None:
        return available_cpus()
    limit = max(MAX_THREADS, os.cpu_count() or 1)
    if not isinstance(threads, int) or not 1 <= threads <= limit:
        raise InputError(f"threads: expected 1 to {limit}, found {threads!r}")
    return threads
