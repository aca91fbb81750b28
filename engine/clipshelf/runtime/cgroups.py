"""What the control groups of this process grant it: CPUs and memory.

A group is limited by its own files and by those of every group above it: a systemd slice, a pod, a container. Version 2
has one tree (https://docs.kernel.org/admin-guide/cgroup-v2.html), version 1 one for each controller
(https://docs.kernel.org/admin-guide/cgroup-v1/index.html). A file that is missing sets no limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 has no word for "unlimited": it says the largest number of whole pages.
_UNLIMITED_BYTES = 1 << 60


def cpu_quota(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """CPUs that the groups grant, by their quotas of CPU time; None where none is limited."""
    quotas = []
    for group in _groups("cpu", root, membership):
        quota, period = _v2_quota(group / "cpu.max") or _v1_quota(group) or (None, None)
        if quota is not None and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes of memory that the groups grant; None where none is limited."""
    limits = [
        limit
        for group in _groups("memory", root, membership)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _number(group / name)) is not None and limit < _UNLIMITED_BYTES
    ]
    return min(limits, default=None)


def _groups(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, and of all above them, for one controller.

    A container sees its own group as the root of the tree, while /proc may name it as the host does; a folder that is
    not there is left out.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    trees = {root: "/"}
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            trees |= {root: path, root / "unified": path}
        elif controller in controllers.split(","):
            trees |= {root / controllers: path, root / controller: path}
    for tree, path in trees.items():
        folder = tree
        yield folder
        for part in path.strip("/").split("/"):
            if part in ("", ".."):
                break
            folder = folder / part
            yield folder


def _v2_quota(file: Path) -> tuple[int, int] | None:
    """Quota and period, in microseconds, of a file `cpu.max`."""
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" else (int(quota), int(period))
    except (OSError, ValueError):
        return None


def _v1_quota(group: Path) -> tuple[int, int] | None:
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return None if quota is None or period is None or quota < 0 else (quota, period)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
