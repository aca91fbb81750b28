"""Crafted pictures are refused or right, in 2 seconds and 300 MB each; nothing of them is run or printed."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Engine, ImageLimits
from clipshelf.errors import ImageError, InputError
from clipshelf.model.image_decoding import read_rgb
from clipshelf.model.image_limits import LimitError, SharedMemory
from PIL import Image
from support.bombs import BOMBS, eps_in_iptc, png
from support.pictures import encode, halves

SECONDS, MEMORY = 2.0, 300_000_000
DECODER = Path(__file__).with_name("decode.py")


@pytest.mark.parametrize("name", BOMBS)
def test_a_crafted_picture_costs_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    try:
        path.write_bytes(BOMBS[name]())
    except (KeyError, OSError):
        pytest.skip("this Pillow does not write the format")
    ways = "fast-shortest", "fast-pad", "exact-shortest", "exact-squash"
    done = subprocess.run([sys.executable, DECODER, path, *ways], capture_output=True, text=True, check=True)
    for way, cost in zip(ways, json.loads(done.stdout), strict=True):
        assert cost["seconds"] < SECONDS and cost["memory"] < MEMORY, (way, cost)
        assert not cost["message"] or cost["message"].startswith(f"{path}: expected a picture, found")
    assert not done.stderr


@pytest.mark.parametrize("opened", [False, True])
def test_no_interpreter_is_started(opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ghostscript that leaves a mark stands first on the path."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None, raising=False)
    for data in (encode(halves(), "EPS"), eps_in_iptc("mark")):
        source = Image.open(io.BytesIO(data)) if opened else data
        with pytest.raises(ImageError, match=r"EPS|IPTC"):
            read_rgb(source)
    assert not (tmp_path / "started").exists()


def test_damaged_pictures_print_nothing(tmp_path: Path) -> None:
    """Not on file descriptor 2 either, where C libraries would print."""
    script = (
        "import io, sys, numpy\n"
        "from PIL import Image\n"
        "from clipshelf.errors import ImageError\n"
        "from clipshelf.model.image_decoding import read_rgb\n"
        "rng = numpy.random.default_rng(0)\n"
        "noise = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=numpy.uint8))\n"
        "codecs = 'raw', 'tiff_lzw', 'tiff_adobe_deflate', 'jpeg', 'packbits'\n"
        "kinds = [('TIFF', {'compression': codec}) for codec in codecs]\n"
        "kinds += [(name, {}) for name in ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP')]\n"
        "kinds += [('TIFF', {'compression': 'group4'}), ('TIFF', {'compression': 'group3'})]\n"
        "for name, options in kinds:\n"
        "    image, file = noise.convert('1') if 'group' in str(options) else noise, io.BytesIO()\n"
        "    image.save(file, name, **options)\n"
        "    for _ in range(60):\n"
        "        data = bytearray(file.getvalue())\n"
        "        for position in rng.integers(0, len(data), 5):\n"
        "            data[position] = rng.integers(256)\n"
        "        try:\n"
        "            read_rgb(bytes(data))\n"
        "        except ImageError:\n"
        "            pass\n"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_large_jpeg_raises_no_warning_of_pillow() -> None:
    data = encode(Image.new("L", (12240, 16320), 200), "JPEG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Engine.load().read_image(data)[100:160, 100:160].mean() == 200


def test_decoders_share_the_memory_of_the_process() -> None:
    shared, limits = SharedMemory(), ImageLimits(memory=100_000_000)
    held, largest, lock = 0, 0, threading.Lock()

    def decode(size: int) -> None:
        nonlocal held, largest
        with shared.reserve(size, limits):
            with lock:
                held += size
                largest = max(largest, held)
            time.sleep(0.01)
            with lock:
                held -= size

    threads = [threading.Thread(target=decode, args=(size,)) for size in (20_000_000, 40_000_000, 90_000_000) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40_000_000 < largest <= 100_000_000
    with pytest.raises(LimitError), shared.reserve(100_000_001, limits):
        pass


def test_a_forked_child_has_all_of_the_memory() -> None:
    shared, limits = SharedMemory(), ImageLimits()
    with shared.reserve(200_000_000, limits):
        pid = os.fork()
        if not pid:
            with shared.reserve(200_000_000, limits):
                os._exit(0)
        for _ in range(500):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.01)
        else:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            status = -1
    assert status == 0


def test_many_large_pictures_at_once_fit_in_the_memory_of_one(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(7000, 7000, 8, 2))
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from decode import peak_memory\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from clipshelf.model.image import ImageReader\n"
        "from clipshelf.model.artifact import ImageSpec\n"
        "reader = ImageReader(ImageSpec(size=64, resize='shortest', resize_to=64, resample='bicubic'))\n"
        "with ThreadPoolExecutor(4) as pool: list(pool.map(reader.read, [sys.argv[1]] * 4))\n"
        "print(peak_memory())\n"
    )
    arguments = [sys.executable, "-c", script, str(path), str(DECODER.parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert int(done.stdout) < MEMORY


def test_a_slow_picture_is_given_up() -> None:
    from support.bombs import bmp

    data = bmp(2000, 2000, 1, b"\1\0" * 500_000)
    with pytest.raises(ImageError, match=r"over 0\.05 seconds of decoding \(ImageLimits\.seconds\)"):
        read_rgb(data, ImageLimits(seconds=0.05))


@pytest.mark.parametrize("values", [{"pixels": 0}, {"memory": -1}, {"seconds": float("nan")}, {"formats": "JPEG"},
                                    {"jpeg_scans": "many"}, {"encoded_bytes": None}])  # fmt: skip
def test_limits_are_checked_when_they_are_made(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(values))}: expected"):
        ImageLimits(**values)  # type: ignore[arg-type]


def test_a_batch_loses_its_bombs_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    good = encode(Image.new("RGB", (64, 64), "red"), "JPEG")
    bombs = [BOMBS["WebP of 40 bytes"](), BOMBS["GIF of 35 bytes"](), BOMBS["JPEG of 4 gigapixels"]()]
    failures: list[object] = []
    rows = Engine.load().embed_images([good, *bombs, good], on_error=failures.append)
    assert len(failures) == 3
    np.testing.assert_array_equal(rows[0], rows[4])
    assert rows[0].any() and not rows[1:4].any()
    assert not caplog.records
