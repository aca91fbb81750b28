from __future__ import annotations

import pytest
from clipshelf import Recommender
from clipshelf.errors import ImageError


def test_a_signal_without_weight_is_never_embedded(recommender: Recommender) -> None:
    missing = "nowhere.jpg"
    for weights in ({"image": 0}, {"image_text": 0, "image_image": 0}):
        assert len(recommender.recommend("red", missing, weights=weights)) == 10
    with pytest.raises(ImageError, match="nowhere"):
        recommender.recommend("red", missing)
