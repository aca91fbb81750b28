from __future__ import annotations

import subprocess
import sys


def test_a_contenders_process_does_not_load_clipshelf() -> None:
    code = "import sys, clipshelf_bench.race.worker, clipshelf_bench.contenders.roster; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"clipshelf", "onnxruntime", "torch", "PIL", "transformers"} & set(loaded)
