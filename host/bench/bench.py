"""What the C++ interface costs over the same calls in Python: processes of both in turn, medians.

usage: bench.py MEASURE [ARTIFACT]

MEASURE is the program built from measure.cpp, ARTIFACT the folder of a model (default: the embedded default).
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from clipshelf.bundled import queries_path

TEXT = "I love running shoes, especially those with great support and comfort."
ROUNDS = 15
# The same call as `measure text`, timed in the same way.
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
    """Print microseconds of a text embedding from Python and from C++, and how calls scale over threads."""
    measure, artifact = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "-"
    commands = {"Python": [sys.executable, "-c", PYTHON, artifact], "C++": [measure, "text", artifact, "1"]}
    microseconds: dict[str, list[float]] = {language: [] for language in commands}
    for _ in range(ROUNDS):
        for language, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            microseconds[language].append(float(done.stdout))
    differences = [cpp - python for cpp, python in zip(microseconds["C++"], microseconds["Python"], strict=True)]
    medians = {language: statistics.median(times) for language, times in microseconds.items()}
    for language, median in medians.items():
        print(f"{language}: {median:.1f} us a text")
    print(f"C++ over Python, by the medians: {medians['C++'] - medians['Python']:+.1f} us")
    print(
        f"in each round: {statistics.median(differences):+.1f} us ({min(differences):+.1f} to {max(differences):+.1f})"
    )
    print("4 host threads over 1, one thread an inference:", flush=True)
    subprocess.run([measure, "scale", artifact, str(queries_path() / "sneaker.jpg")], check=True)


if __name__ == "__main__":
    main()
