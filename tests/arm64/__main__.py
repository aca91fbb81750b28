"""Runs clipshelf on emulated 64-bit ARM CPUs: `python -m arm64 FOLDER` in tests/, or `make test-arm64`.

It compares embeddings, pixels and rankings with those of this machine, runs the tests of the engine, and installs a
bundle. FOLDER keeps the emulated machine for the next run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from arm64.emulation import PYTHON, REPOSITORY, Emulation

# The oldest 64-bit core still sold, without dot products; a later one with them; all that the emulator knows.
CPUS = ("cortex-a53", "cortex-a76", "max")
TESTS = tuple(f"tests/engine/{folder}" for folder in ("runtime", "model", "rank", "catalogue", "recommend"))
EXCLUDED = {
    "tests/engine/catalogue/test_picture_paths.py::test_an_absolute_path_in_another_case_is_found": (
        "the emulator lists its own root in place of /"
    ),
    "tests/engine/model/test_hub.py": "it starts a process for each test, and what it tests knows no processor",
    "tests/engine/rank/test_ranker.py::test_a_query_leaves_no_thread_awake": (
        "it bounds CPU time, of which an emulated thread takes many times as much"
    ),
}
PYTEST = ("-m", "pytest", "-q", "-p", "emulated", "-p", "no:cacheprovider", "-o", "addopts=", "-n", "auto")
AGREEMENT = "tests/arm64/agreement.py"
SHELF = REPOSITORY / "examples/shelf/four.csv"
QUESTION = ["--text", "a warm jacket", "-k", "1", "--json"]


def check_bundle(emulation: Emulation, folder: Path) -> bool:
    """Make a bundle for the emulated machine, install it there, and compare its answer with the one given here."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    clipshelf = [sys.executable, "-m", "clipshelf"]
    shelf, bundle, device = folder / "shelf", folder / "kiosk.tar", folder / "device"
    subprocess.run([*clipshelf, "index", SHELF, shelf], check=True)
    target = ["--target", "linux-aarch64", "--python", PYTHON, "--thumbnails"]
    subprocess.run([*clipshelf, "bundle", shelf, "-o", bundle, *target], check=True)
    subprocess.run([*clipshelf, "verify", bundle], check=True)
    installer = REPOSITORY / "engine/clipshelf/bundle/install.py"
    environment = {"PATH": "/usr/bin:/bin", "CLIPSHELF_PYTHON": str(emulation.bare_python(CPUS[0]))}
    subprocess.run([environment["CLIPSHELF_PYTHON"], installer, bundle, device], env=environment, check=True)
    there = subprocess.check_output([device / "current/recommend", *QUESTION], env=environment)
    here = subprocess.check_output([*clipshelf, "recommend", "--catalogue", shelf, *QUESTION])
    best = [json.loads(answer)["recommendations"][0]["id"] for answer in (there, here)]
    print(f"  best product there and here: {best[0]}, {best[1]}")
    return bool(best[0] == best[1]) and check_kernels(emulation, device / "current/site")


def check_kernels(emulation: Emulation, site: Path) -> bool:
    """Compare what the packages of a bundle compute, whose native kernels were compiled for ARM, on every CPU."""
    if not list(site.glob("clipshelf/runtime/clipshelf_native.so")):
        print("  the bundle has no native kernels: aarch64-linux-gnu-gcc compiles them")
        return True
    answers = [AGREEMENT, "compare", str(emulation.folder / "host.npz")]
    return all(
        subprocess.run([emulation.python_of(site, cpu), *answers], cwd=REPOSITORY, check=False).returncode == 0
        for cpu in CPUS
    )


def main(folder: Path) -> int:
    """Build the machine in `folder`, compare and run the tests; return the exit status of the process."""
    start = time.monotonic()

    def report(step: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {step}", flush=True)

    emulation = Emulation(folder.resolve())
    emulation.build()
    report("the emulated machine is there")
    answers = str(emulation.folder / "host.npz")
    subprocess.run([sys.executable, AGREEMENT, "write", answers], cwd=REPOSITORY, check=True)
    passed = True
    for cpu in CPUS:
        pictures = ["--pictures"] if cpu == CPUS[0] else []
        passed = emulation.run(cpu, AGREEMENT, "compare", answers, *pictures) and passed
        report(f"{cpu}: compared with this machine")
    passed = check_bundle(emulation, emulation.folder / "bundle") and passed
    report(f"{CPUS[0]}: a bundle")
    excluded = [f"--deselect={test}" for test in EXCLUDED]
    passed = emulation.run(CPUS[0], *PYTEST, *excluded, *TESTS) and passed
    report(f"{CPUS[0]}: tests")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
