"""An installation on a machine without a C compiler, as a user makes it.

It builds and installs the package and runs the demo, which takes some twenty seconds: nothing smaller shows that all of
it works there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NINJA = shutil.which("ninja", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
MESSAGE = "clipshelf was built without its native kernels"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere compilers are not found through PATH alone"),
    pytest.mark.skipif(importlib.util.find_spec("scikit_build_core") is None, reason="needs scikit-build-core"),
    pytest.mark.skipif(not NINJA, reason="needs ninja, which pip installs to build the package"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a machine that has ninja and no compiler."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "ninja").symlink_to(Path(str(NINJA)).resolve())
    assert not any(shutil.which(name, path=str(programs)) for name in ("cc", "gcc", "clang", "c99", "make"))
    return {"PATH": str(programs), "HOME": str(tmp_path_factory.mktemp("home"))}


def run(environment: dict[str, str], *command: str | Path) -> str:
    """What a program prints, to either stream; it must succeed."""
    done = subprocess.run(
        command, env=environment, cwd=environment["HOME"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_without_a_compiler_it_installs_says_so_once_and_the_demo_works(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "installation"
    venv.create(folder, symlinks=True)
    # The packages that clipshelf depends on, without the .pth files among them, by which this checkout is importable.
    site = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
    options = ["--verbose", "--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir", "--ignore-installed"]
    log = run(environment, *pip, "install", *options, CHECKOUT)
    assert log.count(MESSAGE) == 1
    assert (site / "clipshelf/__init__.py").is_file() and not list((site / "clipshelf/runtime").glob("*native*.so"))
    clipshelf = folder / "bin/clipshelf"
    assert "none, onnxruntime's run (built without a C compiler" in run(environment, clipshelf, "info")
    page = tmp_path / "demo.html"
    assert "running-shoes" in run(environment, clipshelf, "demo", "--html", page)
    assert "data:image/jpeg" in page.read_text(encoding="utf-8")
