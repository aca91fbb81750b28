"""The limits of control groups, in trees as systemd, Docker and Kubernetes make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clipshelf.model.image_limits import ImageLimits, default_limits
from clipshelf.runtime import cpus, memory
from clipshelf.runtime.cgroups import cpu_quota, memory_limit


def tree(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Root and membership file of a tree with these files."""
    root, proc = folder / "cgroup", folder / "membership"
    root.mkdir()
    proc.write_text(membership)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root, proc


def test_a_machine_without_groups_has_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path / "nothing") is None
    assert memory_limit(tmp_path / "none", tmp_path / "nothing") is None
    root, proc = tree(tmp_path, "0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"})
    assert cpu_quota(root, proc) is None and memory_limit(root, proc) is None


def test_a_container_has_its_limits_at_the_root(tmp_path: Path) -> None:
    root, proc = tree(tmp_path, "0::/\n", {"cpu.max": "150000 100000\n", "memory.max": "536870912\n"})
    assert cpu_quota(root, proc) == 1.5 and memory_limit(root, proc) == 512 << 20


@pytest.mark.parametrize("tight", ["shop.slice", "shop.slice/kiosk.service", "shop.slice/kiosk.service/worker"])
def test_the_tightest_of_nested_groups_counts(tmp_path: Path, tight: str) -> None:
    path = "shop.slice/kiosk.service/worker"
    groups = ["shop.slice", "shop.slice/kiosk.service", path]
    files = {f"{group}/cpu.max": "100000 100000\n" if group == tight else "400000 100000\n" for group in groups}
    files |= {f"{group}/memory.max": "1000000\n" if group == tight else "max\n" for group in groups}
    root, proc = tree(tmp_path, f"0::/{path}\n", files)
    assert cpu_quota(root, proc) == 1 and memory_limit(root, proc) == 1_000_000


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    membership = "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/docker/cpu.cfs_quota_us": "200000\n",
        "cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/docker/abc/memory.limit_in_bytes": "268435456\n",
    }
    root, proc = tree(tmp_path, membership, files)
    assert cpu_quota(root, proc) == 2 and memory_limit(root, proc) == 256 << 20


def test_a_group_that_only_the_host_can_see_is_left_out(tmp_path: Path) -> None:
    root, proc = tree(tmp_path, "0::/kubepods/pod1/box\n", {"cpu.max": "50000 100000\n"})
    assert cpu_quota(root, proc) == 0.5
    proc.write_text("0::/../../other\n")  # a group outside of the container's own tree
    assert cpu_quota(root, proc) == 0.5


@pytest.mark.parametrize("content", ["", "max", "x y", "100000 0", "1 2 3"])
def test_what_is_no_quota_sets_none(tmp_path: Path, content: str) -> None:
    root, proc = tree(tmp_path, "0::/\n", {"cpu.max": content})
    assert cpu_quota(root, proc) is None


def test_a_quota_below_one_leaves_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: 0.3)
    assert cpus.available_cpus() == 1


@pytest.mark.parametrize(("granted", "expected"), [(None, 210_000_000), (8 << 30, 210_000_000), (256 << 20, 64 << 20)])
def test_pictures_take_a_quarter_of_a_small_machine(
    monkeypatch: pytest.MonkeyPatch, granted: int | None, expected: int
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: granted)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4 << 20}[name])
    assert default_limits() == ImageLimits(memory=expected)


def test_the_memory_of_the_machine_counts_without_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: None)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 100}[name])
    assert memory.available_memory() == 409_600
