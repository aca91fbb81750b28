from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from clipshelf_bench.contenders import ALL
from clipshelf_bench.contenders.base import MEAN, STD, normalise
from clipshelf_bench.datasets import inputs
from clipshelf_bench.datasets.reading import read


def test_inputs_come_from_the_seed_alone() -> None:
    assert np.array_equal(inputs.pixels(2, 32, 5), inputs.pixels(2, 32, 5))
    assert not np.array_equal(inputs.pixels(2, 32, 5), inputs.pixels(2, 32, 6))
    assert inputs.sentences(3, 1) == inputs.sentences(3, 1)


def test_ids_begin_and_end_as_clip_has_it() -> None:
    ids = inputs.token_ids(3, 12, 49408, 0)
    assert ids.shape == (3, 12)
    assert set(ids[:, 0]) == {49406}
    assert set(ids[:, -1]) == {49407}
    assert ids[:, 1:-1].max() < 49406


def test_files_come_back(tmp_path: Path) -> None:
    photos = read(inputs.write_photos(tmp_path / "photos", 2, 40, 0))
    assert [photo[:2] for photo in photos] == [b"\xff\xd8"] * 2
    assert read(inputs.write_sentences(tmp_path / "s.json", 2, 0)) == inputs.sentences(2, 0)


def test_artifact_without_checkpoint_gets_ids_of_its_tokenizer(tiny_artifact: Path) -> None:
    assert inputs.tokenised(tiny_artifact, 2, 6, 0).shape == (2, 6)


def test_normalise_is_clips() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    expected = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    assert np.allclose(normalise(pixels), expected, atol=1e-5)


def test_contenders_are_named_once_and_do_something() -> None:
    names = [contender.name for contender in ALL]
    assert len(set(names)) == len(names)
    assert all(contender().openers() and contender.about for contender in ALL)


def test_a_contenders_process_does_not_load_clipshelf() -> None:
    code = "import sys, clipshelf_bench.race.worker, clipshelf_bench.contenders; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"clipshelf", "onnxruntime", "torch", "PIL", "transformers"} & set(loaded)
