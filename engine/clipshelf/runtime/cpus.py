"""How many CPUs this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from clipshelf.errors import InputError

MAX_THREADS = 256  # of one inference or search, on a machine that does not have more CPUs
CGROUP_ROOT = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, limited by the CPU quota of its cgroup. At least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
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


def cgroup_quota(root: Path = CGROUP_ROOT) -> float | None:
    """CPUs that the cgroup mounted at `root` grants, None where it sets no limit.

    Reads `cpu.max` of cgroup v2, then `cpu.cfs_quota_us` and `cpu.cfs_period_us` of v1; the quota is microseconds of
    CPU time in each period (https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu).
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
