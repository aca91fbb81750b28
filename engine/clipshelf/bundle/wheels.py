"""Collects the wheels of a bundle: clipshelf's own, those that its runtime needs, and pip, which installs them."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clipshelf.bundle.target import Target
from clipshelf.errors import ClipshelfError, InputError
from clipshelf.files import FileRecord

PACKAGE = "clipshelf"
INSTALLER = "pip"
_LINES_OF_ERROR = 5


def collect_wheels(
    folder: Path,
    target: Target,
    *,
    wheel: Path | None = None,
    extras: Sequence[str] = (),
    on_warning: Callable[[str], object] | None = None,
) -> None:
    """Download every wheel that a device needs into `folder`.

    - `folder`: an empty folder.
    - `target`: the device.
    - `wheel`: clipshelf's own wheel for it; None builds it from the checkout that this Python runs, or downloads the
      version that is installed.
    - `extras`: of clipshelf, as in "serve".
    - `on_warning`: is told where clipshelf is built without native kernels.

    Raises ClipshelfError with pip's last lines where a package has no wheel for the device.
    """
    if wheel is None:
        wheel = _own_wheel(folder / "own", target)
        if on_warning is not None and wheel.name.endswith("-any.whl"):
            on_warning(
                f"{wheel.name}: expected a C compiler for {target.name}, such as {cross_compiler(target)}, found none "
                "that works; the device runs onnxruntime's kernels, which are slower"
            )
    elif not (wheel.is_file() and wheel.name.startswith(f"{PACKAGE}-") and wheel.suffix == ".whl"):
        raise InputError(f"{wheel}: expected a wheel of {PACKAGE}, clipshelf-VERSION-*.whl")
    requirement = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    _pip("download", *target.pip_options, f"--dest={folder}", requirement, INSTALLER)
    for own in sorted(folder.glob("own/*")):
        own.unlink()
    if (folder / "own").is_dir():
        (folder / "own").rmdir()


def requirements(folder: Path) -> str:
    """The requirements file of the wheels in `folder`: every version, pinned to the hash of its wheel."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if name != INSTALLER:
            lines.append(f"{name}=={version} --hash=sha256:{FileRecord.of(wheel).sha256}\n")
    return "".join(lines)


def _own_wheel(folder: Path, target: Target) -> Path:
    """Clipshelf's own wheel, built from a checkout or downloaded into `folder`."""
    folder.mkdir()
    checkout = _checkout()
    if checkout is not None:
        options, environment = _kernel_options(target)
        _pip("wheel", "--no-deps", f"--wheel-dir={folder}", *options, str(checkout), environment=environment)
    else:
        version = distribution(PACKAGE).version
        _pip("download", "--no-deps", *target.pip_options, f"--dest={folder}", f"{PACKAGE}=={version}")
    return next(folder.glob("*.whl"))


def cross_compiler(target: Target) -> str:
    """The program that compiles for a device on a machine of another kind, as Debian and others name it."""
    return f"{target.architecture}-linux-gnu-gcc"


def _kernel_options(target: Target) -> tuple[list[str], Mapping[str, str]]:
    """Options and environment of pip to build clipshelf for a device, without kernels where nothing compiles them."""
    if sys.platform == "linux" and platform.machine() == target.architecture:
        return [], {}
    compiler = shutil.which(cross_compiler(target))
    if compiler is None:
        return ["--config-settings=wheel.cmake=false"], {}
    defines = {
        "CMAKE_C_COMPILER": compiler,
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": target.architecture,
    }
    options = [f"--config-settings=cmake.define.{name}={value}" for name, value in defines.items()]
    # what a build says that runs on one machine for another; the tag of the wheel comes from it
    return options, {"_PYTHON_HOST_PLATFORM": f"linux-{target.architecture}"}


def _checkout() -> Path | None:
    """The folder that clipshelf was installed from, where that was a folder; None for a release.

    pip records it: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    try:
        recorded = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        raise ClipshelfError(
            f"expected an installed {PACKAGE}, found sources alone; pip install it, or give its wheel with --wheel"
        ) from None
    origin = json.loads(recorded or "{}")
    if "dir_info" not in origin:
        return None
    folder = Path(unquote(urlsplit(origin["url"]).path))
    return folder if (folder / "pyproject.toml").is_file() else None


def _pip(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")][-_LINES_OF_ERROR:]
        raise ClipshelfError(f"pip {arguments[0]}: expected all wheels, found: {' '.join(lines)}")
