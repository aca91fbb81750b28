"""The wheel of clipshelf itself in a bundle: with kernels for the device where something compiles them."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from clipshelf.bundle import wheels
from clipshelf.bundle.target import ARCHITECTURES, Target, this_python

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ARCHITECTURES, reason="bundles are for Linux on two CPUs"
)
OTHER = Target(f"linux-{next(name for name in ARCHITECTURES if name != platform.machine())}", this_python())


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[tuple[str, ...], Mapping[str, str] | None]]:
    """The calls of pip, which builds a wheel of the kind that its options ask for."""
    calls: list[tuple[tuple[str, ...], Mapping[str, str] | None]] = []

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
        calls.append((arguments, environment))
        if arguments[0] == "wheel":
            folder = Path(next(item for item in arguments if item.startswith("--wheel-dir=")).partition("=")[2])
            pure = "--config-settings=wheel.cmake=false" in arguments
            (folder / f"clipshelf-1.0-py3-none-{'any' if pure else 'linux_device'}.whl").touch()

    monkeypatch.setattr(wheels, "_pip", run)
    monkeypatch.setattr(wheels, "_checkout", lambda: tmp_path)
    return calls


def test_a_cross_compiler_builds_the_kernels_of_another_cpu(
    pip: list[tuple[tuple[str, ...], Mapping[str, str] | None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    warnings: list[str] = []
    (tmp_path / "wheels").mkdir()
    wheels.collect_wheels(tmp_path / "wheels", OTHER, on_warning=warnings.append)
    arguments, environment = pip[0]
    compiler = f"/usr/bin/{OTHER.architecture}-linux-gnu-gcc"
    assert f"--config-settings=cmake.define.CMAKE_C_COMPILER={compiler}" in arguments
    assert f"--config-settings=cmake.define.CMAKE_SYSTEM_PROCESSOR={OTHER.architecture}" in arguments
    assert environment == {"_PYTHON_HOST_PLATFORM": f"linux-{OTHER.architecture}"}
    assert not warnings


def test_without_one_the_wheel_is_pure_and_that_is_told(
    pip: list[tuple[tuple[str, ...], Mapping[str, str] | None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    warnings: list[str] = []
    (tmp_path / "wheels").mkdir()
    wheels.collect_wheels(tmp_path / "wheels", OTHER, on_warning=warnings.append)
    assert "--config-settings=wheel.cmake=false" in pip[0][0]
    [warning] = warnings
    assert f"such as {OTHER.architecture}-linux-gnu-gcc, found none that works" in warning


def test_for_this_kind_of_cpu_the_compiler_of_this_machine_is_used(
    pip: list[tuple[tuple[str, ...], Mapping[str, str] | None]], tmp_path: Path
) -> None:
    (tmp_path / "wheels").mkdir()
    wheels.collect_wheels(tmp_path / "wheels", Target(f"linux-{platform.machine()}", this_python()))
    arguments, environment = pip[0]
    assert not [item for item in arguments if item.startswith("--config-settings")]
    assert not environment
