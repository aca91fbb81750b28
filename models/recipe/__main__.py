"""Makes the checkpoint of the embedded model: `python -m recipe` in `models/`, with `bench/` on the path.

Every step stores its results in the cache, so that an interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from clipshelf_bench.datasets.debian import debian_package
from clipshelf_bench.datasets.stamps import PACKAGE, Stamp, read_stamps, sentence_targets

from . import fetch
from .checkpoint import write
from .classes import class_embeddings
from .evaluate import Recall, recalls, table
from .features import RULES, Runner, cached_pictures, picture_features, runner, view_features, view_pixels
from .head import Head
from .sources import all_pictures
from .text import TextEncoder
from .train import Dataset, Settings, dataset, embed, held_out, train
from .unseen import evaluation_pictures, is_unseen, thumbnails
from .vision import Vision, load_vision
from .wordnet import WordNet

_ROOT = Path(__file__).resolve().parents[2]
VARIANTS = (2, 1)
RESIZE = "pad"
SEED = 0
# Numbers of views: 0 is the plain view, as pictures of users are prepared; from 3 on, they are seeds of random views.
VIEWS = (0, 3, 4)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__)
    parser.add_argument("--cache", type=Path, default=_ROOT / "build/recipe", help="downloads and features")
    parser.add_argument("--out", type=Path, default=_ROOT / "build/default-checkpoint", help="the checkpoint")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--validate", action="store_true", help="also train without the held-out concepts, and measure")
    return parser.parse_args()


def validation(
    data: Dataset, clean: npt.NDArray[np.bool_], hidden: npt.NDArray[np.bool_], vision: Vision,
    classes: npt.NDArray[np.float32],
) -> dict[str, list[Recall]]:  # fmt: skip
    """Measure recall on the held-out concepts, by a head that is trained without them."""
    rows = np.flatnonzero(clean & hidden)
    caption_rows, targets = np.unique(data.caption_rows[rows], return_inverse=True)
    head = train(data, clean & ~hidden, vision.classifier, classes, Settings(seed=SEED))
    return compare(head, vision, data.features[RULES.index(RESIZE), rows], data.captions[caption_rows], targets)


def compare(
    head: Head, vision: Vision, features: npt.NDArray[np.floating], texts: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
) -> dict[str, list[Recall]]:  # fmt: skip
    """Measure each part of the head alone, and their sum: the rows of the model's card."""
    parts = {"ConSE alone": "conse", "MLP alone": "mlp", "sum of both": "sum"}
    rows = {name: embed(head, vision.classifier, features, part) for name, part in parts.items()}
    return {name: recalls(images, texts, targets) for name, images in rows.items()}


def report(
    head: Head, vision: Vision, encode: TextEncoder, stamps: list[Stamp], run: Runner
) -> dict[str, list[Recall]]:
    """Measure the finished head on the stamps."""
    sentences, targets = sentence_targets(stamps)
    features = picture_features([stamp.path for stamp in stamps], RESIZE, vision, run)
    return compare(head, vision, features, encode(sentences), targets)


def main() -> None:
    """Run every step in order."""
    args = arguments()
    torch.set_num_threads(args.threads)
    args.cache.mkdir(parents=True, exist_ok=True)
    wordnet = WordNet(debian_package(fetch.WORDNET, args.cache))
    pictures = all_pictures(args.cache, wordnet)
    paths = cached_pictures(pictures, args.cache)
    stamps = debian_package(PACKAGE, args.cache)
    clean = is_unseen(thumbnails(paths), thumbnails(evaluation_pictures(stamps, _ROOT / "examples")))
    print(f"{len(paths)} pictures, {np.count_nonzero(~clean)} left out as near-duplicates of pictures for evaluation")
    vision, encode = load_vision(VARIANTS), TextEncoder()
    run = runner(vision, args.cache / "vision.onnx", args.threads)
    views = [view_features(pictures, paths, view, vision, cache=args.cache, run=run) for view in VIEWS]
    data = dataset(pictures, np.stack(views), encode)
    classes = class_embeddings(wordnet, encode)
    results = {}
    if args.validate:
        results["validation"] = validation(data, clean, held_out(pictures), vision, classes)
    head = train(data, clean, vision.classifier, classes, Settings(seed=SEED))
    pixels = np.stack([view_pixels(path, RULES.index(RESIZE), vision.size) for path in paths[:: len(paths) // 16][:16]])
    texts = [picture.captions[-1] for picture in pictures[:: len(pictures) // 16][:16]]
    write(args.out, vision, head, encode, resize=RESIZE, pixels=pixels, sentences=texts)
    results["stamps"] = report(head, vision, encode, read_stamps(stamps), run)
    for name, rows in results.items():
        print(f"{name}\n{table(rows)}")


if __name__ == "__main__":
    main()
