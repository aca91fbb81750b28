"""Run the graph of a tower on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from clipshelf.runtime.native import Kernels
from clipshelf.types import FloatArray
from tqdm import tqdm


def open_session(path: Path, threads: int, kernels: Kernels | None = None) -> Any:
    """Open the graph at `path` on the CPU.

    - `threads`: of a run.
    - `kernels`: the native kernels that run its operators; None for the functions that it carries for them.

    Returns an onnxruntime session.
    """
    options = ort.SessionOptions()
    if kernels is not None:
        options.register_custom_ops_library(str(kernels.path))
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def embed(session: Any, samples: Sequence[Any], label: str = "") -> FloatArray:
    """Embed samples one by one; a static graph gives the same bits for a sample alone and in a batch.

    - `session`: of a tower's graph, whose first output is the embedding.
    - `samples`: n pictures, uint8 (S, S, 3), or n texts, int64 (L,).
    - `label`: names the progress bar; "" shows none.

    Returns float32 (n, D) of unit norm.
    """
    output = session.get_outputs()[0].name
    bar = tqdm(samples, desc=label, leave=False, disable=None if label else True)
    return np.concatenate([session.run([output], make_feeds(session, sample))[0] for sample in bar])


def make_feeds(session: Any, sample: Any) -> dict[str, Any]:
    """Return the inputs by name with which `session` runs on one picture (S, S, 3) or one text (L,)."""
    inputs = session.get_inputs()
    feeds = {inputs[0].name: sample[None]}
    if len(inputs) > 1:
        feeds["attention_mask"] = np.ones((1, len(sample)), np.int64)
    return feeds
