"""Whether `tests/reference` still is what torch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import make_reference


def test_the_committed_outputs_are_still_torchs(tmp_path: Path) -> None:
    make_reference.make(tmp_path / "again")
    with np.load(make_reference.REFERENCE / "outputs.npz") as old, np.load(tmp_path / "again/outputs.npz") as new:
        for name in ("pixels", "texts"):
            assert np.array_equal(old[name], new[name])
        for name in ("image_embeds", "text_embeds"):
            difference = np.abs(old[name] - new[name]).max()
            assert difference <= 1e-5, "stale: remake it with `python tests/export/make_reference.py`"
