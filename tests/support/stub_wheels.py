"""Wheels made by hand: a clipshelf that only checks, and the pip of this environment."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pip

_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_STUB = """\
import pathlib, sys
if {fails}:
    sys.exit("the catalogue is not well")
print(sys.argv[1:], pathlib.Path("catalogue/manifest.json").is_file(), {version!r})
"""


def write_stub_wheels(folder: Path, *, version: str = "1.0", fails: bool = False) -> Path:
    """Write the wheels of a bundle into a new folder, and return it.

    - `version`: of the stub of clipshelf, which prints its arguments and its version.
    - `fails`: whether the stub ends with an error.
    """
    folder.mkdir()
    stub = _STUB.format(fails=fails, version=version)
    _write_wheel(folder, "clipshelf", version, {"clipshelf/__init__.py": "", "clipshelf/__main__.py": stub})
    package = Path(pip.__file__).parent
    sources = {
        f"pip/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    _write_wheel(folder, "pip", pip.__version__, sources)
    return folder


def _write_wheel(folder: Path, name: str, version: str, files: dict[str, str] | dict[str, bytes]) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{info}/METADATA", _METADATA.format(name=name, version=version))
        wheel.writestr(f"{info}/WHEEL", _WHEEL)
        wheel.writestr(f"{info}/RECORD", "")
