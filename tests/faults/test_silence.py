"""Nothing is written beside what a caller asked for: no file in the home, no connection, nothing on standard error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import tiny

PROGRAM = """
import sys
import clipshelf, clipshelf.cli.main
from clipshelf import Catalogue, Engine, Recommender
import numpy as np

engine = Engine.load(sys.argv[1]).warm()
recommender = Recommender(engine, Catalogue.build(engine, [{"id": "p1", "text": "red shoe"}]))
recommender.recommend(text="red")
for bad in (np.array([[99999999]]), np.zeros((1, 2), np.float32)):  # what onnxruntime refuses
    try:
        engine.towers.session("text").run({"input_ids": bad})
    except Exception:
        continue
    raise SystemExit("expected an error")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def run(home: Path, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "COVERAGE_PROCESS_CONFIG"):  # coverage would write, too
        if name not in variables:
            environment.pop(name, None)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=home.parent)


def test_a_fresh_home_stays_empty_and_standard_error_too(home: Path, tiny_artifact: Path) -> None:
    done = run(home, [sys.executable, "-c", PROGRAM, str(tiny_artifact)])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "module", ["clipshelf_export.cli", "clipshelf_export.measure.sessions", "clipshelf.runtime.session"]
)
def test_it_is_so_whichever_module_comes_first(home: Path, module: str) -> None:
    pytest.importorskip("torch" if "export" in module else "onnxruntime")
    done = run(home, [sys.executable, "-c", f"import {module}, onnxruntime"])
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []


def test_an_empty_variable_counts_as_none_and_a_users_value_is_kept(home: Path) -> None:
    code = "import os, clipshelf; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    values = {value: run(home, [sys.executable, "-c", code], ORT_DISABLE_TELEMETRY=value).stdout for value in ("", "0")}
    assert values == {"": "1\n", "0": "0\n"}


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_system_call_connects_or_writes_outside(home: Path, tiny_artifact: Path) -> None:
    trace = home.parent / "trace"
    calls = "trace=socket,connect,sendto,sendmsg,openat,open,creat,mkdir,mkdirat,rename,renameat2,unlink"
    done = run(home, ["strace", "-f", "-e", calls, "-o", str(trace), sys.executable, "-c", PROGRAM, str(tiny_artifact)])
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()
    assert [line for line in lines if any(call in line for call in ("socket(", "connect(", "send"))] == []
    writes = ("O_WRONLY", "O_RDWR", "O_CREAT", "mkdir", "rename", "unlink", "creat(")
    assert [line for line in lines if any(word in line for word in writes) and '"/dev/' not in line] == []


def test_the_command_line_is_silent_too(home: Path, tmp_path: Path) -> None:
    artifact = tiny.write_artifact(tmp_path / "artifact")
    (tmp_path / "products.csv").write_text("id,text\np1,red shoe\np2,blue shirt\n")
    command = [sys.executable, "-m", "clipshelf", "index", str(tmp_path / "products.csv"), str(tmp_path / "shelf")]
    done = run(home, [*command, "--artifact", str(artifact)])
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.skipif(shutil.which("unshare") is None or sys.platform != "linux", reason="hides devices by a mount")
def test_devices_that_onnxruntime_cannot_look_at_are_not_told(home: Path, tmp_path: Path) -> None:
    device = tmp_path / "devices/device"
    device.mkdir(parents=True)
    (device / "class").write_text("0x030000\n")  # a GPU that does not say whose
    hidden = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /sys/bus/pci/devices && exec "$@"', str(device.parent)]
    plain = run(home, [*hidden, sys.executable, "-c", "import onnxruntime"], ORT_DISABLE_TELEMETRY="1")
    if "onnxruntime" not in plain.stderr:
        pytest.skip("onnxruntime warns of nothing here")
    code = "import sys; from clipshelf.runtime.providers import CPU; print('own', file=sys.stderr)"
    done = run(home, [*hidden, sys.executable, "-c", code])
    assert (done.returncode, done.stderr) == (0, "own\n")


def test_a_closed_standard_error_is_no_obstacle(home: Path) -> None:
    code = "import os; os.close(2); from clipshelf.runtime.providers import CPU; print(CPU)"
    assert run(home, [sys.executable, "-c", code]).stdout == "CPUExecutionProvider\n"
