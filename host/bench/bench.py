"""What the C interface costs over the same calls in Python: alternating processes, medians.

usage: bench.py MEASURE, the program built from measure.cpp
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from clipshelf.embedded import queries_path

TEXT = "I love running shoes, especially those with great support and comfort."
ROUNDS = 7
# the same call, timed in the same way
PYTHON = f"""
import time
from clipshelf import Engine
engine = Engine.load(threads=1).warm()
times = []
for i in range(2200):
    start = time.perf_counter()
    engine.embed_texts([{TEXT!r}])
    times.append(time.perf_counter() - start)
print(1e6 * sorted(times[200:])[1000])
"""


def main() -> None:
    """Print microseconds of a text embedding from either side, and how calls scale over threads."""
    measure = sys.argv[1]
    sides = {"Python": [sys.executable, "-c", PYTHON], "C++": [measure, "text", "-", "1"]}
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, command in sides.items():
            found[side].append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    over = [ours - theirs for ours, theirs in zip(found["C++"], found["Python"], strict=True)]
    for side, times in found.items():
        print(f"{side}: {statistics.median(times):.0f} us a text")
    print(f"C++ over Python: {statistics.median(over):+.0f} us ({min(over):+.0f} to {max(over):+.0f})")
    print("4 host threads over 1, one thread an inference:", flush=True)
    subprocess.run([measure, "scale", "-", str(queries_path() / "sneaker.jpg")], check=True)


if __name__ == "__main__":
    main()
