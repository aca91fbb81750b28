"""An aarch64 machine in a folder: Python of Debian, wheels of PyPI, and qemu's user-mode emulation to run them.

Nothing is installed and no root is needed: packages are fetched with an apt configuration of its own and unpacked. The
system must have apt, dpkg and Debian's archive keyring (the package debian-archive-keyring, on Ubuntu too).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RELEASE = "bookworm"
PYTHON = "3.11"  # that of the release
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
# Python and what the wheels link to; dpkg unpacks them without their dependencies.
PACKAGES = (
    f"libc6 python{PYTHON}-minimal libpython{PYTHON}-minimal libpython{PYTHON}-stdlib libstdc++6 libgcc-s1 zlib1g "
    "libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libcrypt1"
).split()
# What the tests of the engine import beyond the runtime; tests of further kinds of tables are skipped without these.
TEST_PACKAGES = ("hypothesis", "onnx", "pandas", "pytest", "pytest-xdist")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux2014", "manylinux_2_17")
# onnxruntime reads /proc/cpuinfo, and crashes on that of an x86 host: https://github.com/pytorch/cpuinfo
CPU_INFO = (
    "processor\t: {number}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd03\nCPU revision\t: 4\n\n"
)


class Emulation:
    """An emulated machine in `folder`, made by `build` and used by `run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.site = folder / "site"

    def build(self) -> None:
        """Fetch and unpack everything, unless an earlier call did so for the same packages and requirements."""
        wanted = "\n".join((RELEASE, *PACKAGES, *_requirements()))
        stamp = self.folder / "built"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("apt", "root", "site", "wheels", "plugins"):
            (self.folder / name).mkdir(parents=True)
        self._unpack_packages()
        self._unpack_wheels()
        (self.root / "proc").mkdir(exist_ok=True)
        cpus = (CPU_INFO.format(number=number) for number in range(2))
        (self.root / "proc/cpuinfo").write_text("".join(cpus))
        # sys.executable is the ARM binary, which the host cannot start; tests that start a child take the wrapper.
        plugin = 'import os, sys\nsys.executable = os.environ["EMULATED_PYTHON"]\n'
        (self.folder / "plugins/emulated.py").write_text(plugin)
        stamp.write_text(wanted)

    def python(self, cpu: str) -> Path:
        """A program that is Python on an emulated CPU, with the packages of the tests and clipshelf.

        - `cpu`: one of those that `qemu-aarch64-static -cpu help` lists.
        """
        return self._python(f"python-{cpu}", cpu, self.site, REPOSITORY / "engine", self.folder / "plugins")

    def python_of(self, site: Path, cpu: str) -> Path:
        """As `python`, with the packages in a folder alone."""
        return self._python(f"site-python-{cpu}", cpu, site)

    def _python(self, name: str, cpu: str, *folders: Path) -> Path:
        paths = ":".join(map(str, folders))
        program = self.folder / name
        options = f'-E "PYTHONPATH={paths}" -E "EMULATED_PYTHON={program}"'
        return self._write_program(program, cpu, options)

    def bare_python(self, cpu: str) -> Path:
        """As `python`, with the standard library alone."""
        return self._write_program(self.folder / f"bare-python-{cpu}", cpu, "")

    def _write_program(self, program: Path, cpu: str, options: str) -> Path:
        emulator = f'exec "{self._emulator()}" -cpu {cpu} -L "{self.root}" {options}'
        program.write_text(f'#!/bin/sh\n{emulator} "{self.root}/usr/bin/python{PYTHON}" "$@"\n')
        program.chmod(0o755)
        return program

    def run(self, cpu: str, *arguments: str) -> bool:
        """Run Python with arguments, in the repository; return whether it succeeded."""
        return subprocess.run([self.python(cpu), *arguments], cwd=REPOSITORY, check=False).returncode == 0

    def _emulator(self) -> str:
        return shutil.which("qemu-aarch64-static") or str(self.folder / "host/usr/bin/qemu-aarch64-static")

    def _unpack_packages(self) -> None:
        if not KEYRING.is_file():
            sys.exit(f"expected {KEYRING}, found none: install the package debian-archive-keyring")
        self._fetch("arm64", PACKAGES, self.root)
        if shutil.which("qemu-aarch64-static") is None:
            host = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
            self._fetch(host.stdout.strip(), ["qemu-user-static"], self.folder / "host")

    def _fetch(self, architecture: str, packages: Sequence[str], target: Path) -> None:
        """Download packages of the release and unpack them into `target`, with apt's state in a folder of its own."""
        folder = self.folder / "apt" / architecture
        for name in ("lists/partial", "archives/partial", "debs", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {RELEASE} main\n")
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures::": architecture,
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": folder / "parts",
            "Dir::Etc::parts": folder / "parts",
            "Dir::Etc::preferencesparts": folder / "parts",
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache::archives": folder / "archives",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
        }
        configuration = folder / "apt.conf"
        configuration.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
        environment = {**os.environ, "APT_CONFIG": str(configuration)}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=True)
        subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder / "debs", env=environment, check=True)
        for package in sorted((folder / "debs").glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(package), str(target)], check=True)

    def _unpack_wheels(self) -> None:
        platforms = [f"--platform={platform}_aarch64" for platform in PLATFORMS]
        target = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
        wheels = self.folder / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", *target, f"--dest={wheels}", *_requirements()]
        subprocess.run(command, check=True)
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(self.site)


def _requirements() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return [*project["project"]["dependencies"], *TEST_PACKAGES]
