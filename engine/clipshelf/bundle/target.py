"""The devices that a bundle can be made for, in the words of pip."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from clipshelf.errors import InputError

# Tags of wheels that run on the oldest C library supported and on all later ones, as in PEP 600.
_GLIBC_MINORS = (17, 24, 27, 28, 31, 34)
ARCHITECTURES = ("aarch64", "x86_64")
_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Target:
    """A device.

    - `name`: "linux-aarch64" or "linux-x86_64".
    - `python`: its Python, as in "3.11".

    Raises InputError for others.
    """

    name: str
    python: str

    def __post_init__(self) -> None:
        names = [f"linux-{architecture}" for architecture in ARCHITECTURES]
        if self.name not in names:
            raise InputError(f"target: expected one of {', '.join(names)}, found {self.name!r}")
        match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", self.python)
        if match is None or tuple(map(int, match.groups())) < _OLDEST_PYTHON:
            raise InputError(f"python: expected a version from 3.11 on, as in 3.12, found {self.python!r}")

    @property
    def architecture(self) -> str:
        """Its architecture, as `platform.machine()` says it there."""
        return self.name.partition("-")[2]

    @property
    def pip_options(self) -> list[str]:
        """The options that make `pip download` choose wheels for the device."""
        platforms = [*(f"manylinux_2_{minor}" for minor in _GLIBC_MINORS), "manylinux2014", "linux"]
        tags = [f"--platform={platform}_{self.architecture}" for platform in platforms]
        return ["--only-binary=:all:", "--implementation=cp", f"--python-version={self.python}", *tags]


def this_python() -> str:
    """The version of the Python that runs, as in "3.11"."""
    return ".".join(map(str, sys.version_info[:2]))
