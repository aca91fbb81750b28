from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from clipshelf import Catalogue, Engine, Recommender, Weights
from clipshelf.errors import FingerprintMismatch, ImageError, InputError
from clipshelf.query import fuse


@pytest.fixture
def catalogue(engine: Engine) -> Catalogue:
    return Catalogue.build(
        engine, [{"id": colour, "text": colour, "image": tiny.picture(colour)} for colour in tiny.COLOURS]
    )


@pytest.mark.parametrize("colour", tiny.COLOURS)
def test_text_image_or_both_find_the_product(engine: Engine, catalogue: Catalogue, colour: str) -> None:
    recommender = Recommender(engine, catalogue)
    picture = tiny.picture(colour)
    for answer in (
        recommender.recommend(text=colour, k=2),
        recommender.recommend(image=picture, k=2),
        recommender.recommend(text=colour, image=picture, k=2),
    ):
        assert answer[0].id == colour and len(answer) == 2
        assert answer[0].score > answer[1].score
        assert set(answer.took_ms) == {"embed_text", "embed_image", "rank", "total"}


def test_the_score_is_the_weighted_mean_of_four_cosines(engine: Engine, catalogue: Catalogue) -> None:
    weights = Weights(text_text=1, text_image=2, image_text=3, image_image=4)
    answer = Recommender(engine, catalogue, weights=weights).recommend("red shoe", tiny.picture("blue"), k=3)
    text, image = engine.embed_texts(["red shoe"])[0], engine.embed_images([tiny.picture("blue")])[0]
    for item in answer:
        row = catalogue.ids.index(item.id)
        to_text, to_image = catalogue.text_embeds[row], catalogue.image_embeds[row]
        expected = (text @ to_text + 2 * text @ to_image + 3 * image @ to_text + 4 * image @ to_image) / 10
        assert item.score == pytest.approx(float(expected), abs=1e-6)


def test_one_side_alone_ignores_the_weights_of_the_other() -> None:
    side = np.array([1, 0], np.float32)
    np.testing.assert_allclose(fuse(side, None, Weights(text_text=3, text_image=1)), [[0.25, 0, 0.75, 0]])
    np.testing.assert_allclose(fuse(None, side, Weights(image_text=1, image_image=1)), [[0.5, 0, 0.5, 0]])
    with pytest.raises(InputError, match="weights: expected a positive sum"):
        fuse(side, None, Weights(text_text=0, text_image=0))


def test_misuse_is_named(engine: Engine, catalogue: Catalogue) -> None:
    recommender = Recommender(engine, catalogue)
    with pytest.raises(InputError, match="query: expected a text, an image or both, found neither"):
        recommender.recommend()
    with pytest.raises(InputError, match="text: expected words, found a blank string"):
        recommender.recommend(text=" \n")
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        recommender.recommend(image="nowhere.jpg")
    with pytest.raises(InputError, match="k: expected 1 or more, found 0"):
        recommender.recommend(text="red", k=0)


def test_k_past_the_catalogue_gives_all(engine: Engine, catalogue: Catalogue) -> None:
    assert len(Recommender(engine, catalogue).recommend(text="red", k=99)) == 3


def test_another_models_catalogue_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    other = Engine.load(tiny.write_artifact(tmp_path, seed=1))
    with pytest.raises(FingerprintMismatch, match=f"{catalogue.fingerprint}.*{other.fingerprint}"):
        Recommender(other, catalogue)


def test_the_json_object_is_stable(engine: Engine, catalogue: Catalogue) -> None:
    answer = Recommender(engine, catalogue).recommend(text="red", k=1)
    found = json.loads(json.dumps(answer.to_dict()))
    assert list(found) == ["recommendations", "took_ms"]
    assert list(found["recommendations"][0]) == ["id", "score", "product"]
    assert found["recommendations"][0]["product"] == {"id": "red", "text": "red"}
