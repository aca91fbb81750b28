from __future__ import annotations

from pathlib import Path

import numpy as np
from clipshelf_bench.datasets import inputs
from clipshelf_bench.datasets.reading import read_input, read_products


def test_inputs_come_from_the_seed_alone() -> None:
    assert np.array_equal(inputs.random_pixels(2, 32, 5), inputs.random_pixels(2, 32, 5))
    assert not np.array_equal(inputs.random_pixels(2, 32, 5), inputs.random_pixels(2, 32, 6))
    assert inputs.random_sentences(3, 1) == inputs.random_sentences(3, 1)


def test_token_ids_begin_and_end_with_clips_special_ids() -> None:
    ids = inputs.random_token_ids(3, 12, 49408, 0)
    assert ids.shape == (3, 12)
    assert set(ids[:, 0]) == {49406}
    assert set(ids[:, -1]) == {49407}
    assert ids[:, 1:-1].max() < 49406


def test_files_come_back(tmp_path: Path) -> None:
    photos = read_input(inputs.write_photos(tmp_path / "photos", 2, 40, 0))
    assert [photo[:2] for photo in photos] == [b"\xff\xd8"] * 2
    assert read_input(inputs.write_sentences(tmp_path / "s.json", 2, 0)) == inputs.random_sentences(2, 0)


def test_an_artifact_gets_ids_of_its_tokenizer(tiny_artifact: Path) -> None:
    ids = inputs.tokenised_sentences(tiny_artifact / "tokenizer.json", 2, 6, 0)
    assert ids.shape == (2, 6)
    assert ids.dtype == np.int64


def test_products_and_a_query_come_back(tmp_path: Path) -> None:
    products = read_products(inputs.write_products(tmp_path / "shelf", 2, 8, seed=0))
    assert [text for text, _ in products] == inputs.random_sentences(2, seed=0)
    assert all(picture.startswith(b"\xff\xd8") for _, picture in products)
    text, photo = read_input(inputs.write_query(tmp_path / "query", 8, seed=0))
    assert (text, photo[:2]) == (inputs.REVIEW, b"\xff\xd8")
