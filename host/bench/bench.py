"""What the C interface costs over the same calls in Python: alternating processes, medians.

usage: bench.py MEASURE [ARTIFACT]: the program built from measure.cpp, and a folder in place of the embedded default
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from clipshelf.bundled import queries_path

TEXT = "I love running shoes, especially those with great support and comfort."
ROUNDS = 15
# the same call, timed in the same way
PYTHON = f"""
import sys, time
from clipshelf import Engine
engine = Engine.load(None if sys.argv[1] == "-" else sys.argv[1], threads=1).warm()
times = []
for i in range(2200):
    start = time.perf_counter()
    engine.embed_texts([{TEXT!r}])
    times.append(time.perf_counter() - start)
print(1e6 * sorted(times[200:])[1000])
"""


def main() -> None:
    """Print microseconds of a text embedding from either side, and how calls scale over threads."""
    measure, artifact = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "-"
    sides = {"Python": [sys.executable, "-c", PYTHON, artifact], "C++": [measure, "text", artifact, "1"]}
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, command in sides.items():
            found[side].append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    over = [ours - theirs for ours, theirs in zip(found["C++"], found["Python"], strict=True)]
    medians = {side: statistics.median(times) for side, times in found.items()}
    for side, median in medians.items():
        print(f"{side}: {median:.1f} us a text")
    print(f"C++ over Python, by the medians: {medians['C++'] - medians['Python']:+.1f} us")
    print(f"in each round: {statistics.median(over):+.1f} us ({min(over):+.1f} to {max(over):+.1f})")
    print("4 host threads over 1, one thread an inference:", flush=True)
    subprocess.run([measure, "scale", artifact, str(queries_path() / "sneaker.jpg")], check=True)


if __name__ == "__main__":
    main()
