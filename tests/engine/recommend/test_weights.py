from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from clipshelf import Recommender, Weights
from clipshelf.errors import ImageError, InputError


def test_a_signal_without_weight_is_never_embedded(recommender: Recommender) -> None:
    missing = "nowhere.jpg"
    for weights in ({"image": 0}, {"image_text": 0, "image_image": 0}):
        assert len(recommender.recommend("red", missing, weights=weights)) == 10
    with pytest.raises(ImageError, match="nowhere"):
        recommender.recommend("red", missing)


def test_weights_that_are_not_named_keep_their_default() -> None:
    default = Weights(text=0.5, liked=2.0)
    assert Weights.of(None, default) is default
    assert Weights.of({"text": 3}, default) == Weights(text=3, liked=2.0)
    assert Weights.of(Weights(image=0.5), default) == Weights(image=0.5)
    with pytest.raises(FrozenInstanceError):
        default.text = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, "1", None, True])
def test_a_weight_is_a_number_from_0_on(value: Any) -> None:
    with pytest.raises(InputError, match=f"weights: image_text: expected a number from 0 on, found {value!r}"):
        Weights(image_text=value)


def test_cosines_are_side_of_the_query_by_side_of_the_product() -> None:
    weights = Weights(image_image=1.0, image_text=2.0, text_image=3.0, text_text=4.0)
    assert weights.cosines.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_signals_that_no_cosine_reads() -> None:
    assert Weights().reads_texts and Weights().reads_images
    assert not Weights(text=0).reads_texts and not Weights(text_text=0, text_image=0).reads_texts
    assert not Weights(image=0).reads_images and not Weights(image_text=0, image_image=0).reads_images
    assert Weights(text_text=0).reads_texts and Weights(image_image=0).reads_images
