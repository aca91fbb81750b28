"""How many CPUs this process may use."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, limited by the CPU quota of its cgroup. At least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return count if quota is None else max(1, min(count, int(quota)))


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
