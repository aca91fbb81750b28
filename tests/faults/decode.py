"""Decodes a picture in several ways in a process of its own, and prints what that cost, as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from clipshelf.errors import ImageError
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.image import ImageReader


def peak_memory() -> int:
    """Bytes of the largest resident set of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


def main(path: str, *ways: str) -> None:
    costs = []
    for way in ways:
        decode, resize = way.split("-")
        spec = ImageSpec(size=260, resize=resize, resize_to=260, resample="bicubic")  # type: ignore[arg-type]
        reader = ImageReader(spec, decode)  # type: ignore[arg-type]
        start, message = time.process_time(), ""
        try:
            reader.read(path)
        except ImageError as error:
            message = str(error)
        costs.append({"seconds": time.process_time() - start, "memory": peak_memory(), "message": message})
    print(json.dumps(costs))


if __name__ == "__main__":
    main(*sys.argv[1:])
