"""Backbone features of every view of every picture, computed once and cached.

N pictures, F pooled features of all backbones. The cache has one file for each source and view, float16 (n, F), so that
a new source does not invalidate the others.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from PIL import Image

from .sources import Picture
from .views import Pixels, fit, load, over, random_view
from .vision import Vision

Runner: TypeAlias = Callable[[Pixels], npt.NDArray[np.float32]]

RULES = ("pad", "squash", "shortest")
_BATCH = 16


def cached_pictures(pictures: list[Picture], cache: Path) -> list[Path]:
    """Decode or render each picture once, to a small RGBA PNG in the cache, and return the paths."""
    folder = cache / "pictures"
    folder.mkdir(parents=True, exist_ok=True)

    def make(picture: Picture) -> Path:
        key = hashlib.sha256(f"{picture.source}/{picture.name}".encode()).hexdigest()[:20]
        path = folder / f"{key}.png"
        if not path.exists():
            partial = path.with_suffix(".partial")
            load(picture).save(partial, format="PNG", compress_level=1)
            partial.rename(path)
        return path

    with ThreadPoolExecutor(2) as threads:  # decoding releases the interpreter's lock
        return list(threads.map(make, pictures))


def runner(vision: Vision, path: Path, threads: int) -> Runner:
    """Return a function from pixels (B, S, S, 3) to pooled features (B, F).

    It runs on onnxruntime, which is four times as fast as torch on these convolutions. The graph is cached at `path`.
    """
    if not path.exists():
        example = torch.zeros((1, vision.size, vision.size, 3), dtype=torch.uint8)
        partial = path.with_suffix(".partial")
        torch.onnx.export(
            vision, (example,), str(partial), input_names=["pixels"], output_names=["features", "logits"],
            dynamic_axes={"pixels": {0: "B"}, "features": {0: "B"}, "logits": {0: "B"}}, dynamo=False,
        )  # fmt: skip
        partial.rename(path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # a long job, so other processes need cores
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(["features"], {"pixels": pixels})[0])


def view_pixels(path: Path, view: int, size: int) -> Pixels:
    """Return a view (S, S, 3) of the picture at `path`: the first three are those of `RULES`, the others are random."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    if view < len(RULES):
        return fit(over(rgba), size, RULES[view])
    return random_view(rgba, size, random.Random(f"{path.stem}/{view}"))


def _batches(paths: list[Path], view: int, size: int) -> Iterator[Pixels]:
    with ThreadPoolExecutor(2) as pool:
        chunks = [paths[i : i + _BATCH] for i in range(0, len(paths), _BATCH)]

        def make(chunk: list[Path]) -> Pixels:
            return np.stack([view_pixels(path, view, size) for path in chunk])

        pending = [pool.submit(make, chunk) for chunk in chunks[:3]]
        for i in range(len(chunks)):
            if i + 3 < len(chunks):
                pending.append(pool.submit(make, chunks[i + 3]))
            yield pending[i].result()
            pending[i] = None  # type: ignore[call-overload]


def view_features(
    pictures: list[Picture], paths: list[Path], view: int, vision: Vision, *, cache: Path, run: Runner
) -> npt.NDArray[np.float16]:
    """Return features (N, F) of one view of all pictures, which are in the order of their sources."""
    sources = groupby(zip(pictures, paths, strict=True), key=lambda pair: pair[0].source)
    named = ((source, [path for _, path in pairs]) for source, pairs in sources)
    return np.concatenate(
        [_source_features(source, source_paths, view, vision, cache=cache, run=run) for source, source_paths in named]
    )


def _source_features(
    source: str, paths: list[Path], view: int, vision: Vision, *, cache: Path, run: Runner
) -> npt.NDArray[np.float16]:
    """Return features (n, F) of one source, from the cache where it has them."""
    key = hashlib.sha256("\n".join(path.stem for path in paths).encode()).hexdigest()[:12]
    target = cache / f"features-{source}-{key}-{view:02d}.npy"
    if not target.exists():
        rows = [run(pixels).astype(np.float16) for pixels in _batches(paths, view, vision.size)]
        partial = target.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(rows))
        partial.rename(target)
    return np.load(target)


def picture_features(paths: list[Path], rule: str, vision: Vision, run: Runner) -> npt.NDArray[np.float32]:
    """Return features (n, F) of picture files, prepared as pictures of users are; they are not cached."""
    rows = []
    for start in range(0, len(paths), _BATCH):
        images = [over(Image.open(path).convert("RGBA")) for path in paths[start : start + _BATCH]]
        rows.append(run(np.stack([fit(image, vision.size, rule) for image in images])))
    return np.concatenate(rows)
