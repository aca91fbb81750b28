from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, InputError, Query, Recommender
from clipshelf.cli.main import main
from support import tiny

LOGITS = {"scale": 20.0, "bias": -12.0}


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that gives probabilities."""
    return tiny.write_artifact(tmp_path_factory.mktemp("siglip") / "model", logits=LOGITS)


@pytest.fixture(scope="module")
def products() -> list[dict[str, Any]]:
    return [
        {"id": "both", "text": "blue shoe", "image": tiny.picture("red")},
        {"id": "picture", "image": tiny.picture("green")},
        {"id": "text", "text": "green shirt"},
    ]


@pytest.fixture(scope="module")
def recommender(siglip: Path, products: list[dict[str, Any]]) -> Recommender:
    engine = Engine.load(siglip, threads=1)
    return Recommender(engine, Catalogue.build(engine, products))


def sigmoid(cosine: float) -> float:
    return float(1 / (1 + np.exp(-(20.0 * cosine - 12.0))))


def probabilities(recommender: Recommender, **query: Any) -> dict[str, float | None]:
    return {item.id: item.probability for item in recommender.recommend(**query, probability=True)}


def test_a_probability_is_that_of_the_models_own_scale_and_bias(recommender: Recommender) -> None:
    engine = recommender.engine
    words, pictures = (
        engine.embed_texts(["red shoe"]),
        engine.embed_images([tiny.picture("red"), tiny.picture("green")]),
    )
    red, green = (float(words[0] @ row) for row in pictures)
    np.testing.assert_allclose(engine.match_probabilities(words, pictures), [[sigmoid(red), sigmoid(green)]], rtol=1e-5)
    found = probabilities(recommender, text="red shoe")
    assert found == {"both": pytest.approx(sigmoid(red)), "picture": pytest.approx(sigmoid(green)), "text": None}


def test_a_picture_is_compared_with_texts_and_several_pairs_are_averaged(recommender: Recommender) -> None:
    engine = recommender.engine
    image, text = tiny.picture("green"), "red"
    blue, shirt = engine.embed_texts(["blue shoe", "green shirt"]) @ engine.embed_images([image])[0]
    red, green = engine.embed_images([tiny.picture("red"), tiny.picture("green")]) @ engine.embed_texts([text])[0]
    assert probabilities(recommender, text=text, image=image) == {
        "both": pytest.approx((sigmoid(red) + sigmoid(blue)) / 2),
        "picture": pytest.approx(sigmoid(green)),
        "text": pytest.approx(sigmoid(shirt)),
    }


def test_other_signals_weights_and_gap_correction_change_no_probability(recommender: Recommender) -> None:
    plain = probabilities(recommender, text="red shoe")
    other = Recommender(recommender.engine, recommender.catalogue, gap_correction=False)
    weighted = probabilities(other, text="red shoe", liked=["text"], weights={"text": 0.1, "text_image": 9})
    assert weighted == {"both": pytest.approx(plain["both"]), "picture": pytest.approx(plain["picture"])}
    assert probabilities(recommender, liked=["text"]) == {"both": None, "picture": None}
    assert [item.probability for item in recommender.recommend(text="red shoe")] == [None] * 3


def test_answers_carry_probabilities_to_json_and_tables(recommender: Recommender) -> None:
    answer = recommender.answer(Query.from_dict({"text": "red shoe", "probability": True}))
    items = {item["id"]: item for item in answer.to_dict()["recommendations"]}
    assert list(items["both"]) == ["id", "score", "relevance", "probability", "product"]
    assert "probability" not in items["text"]
    lines = {line.split()[4]: line.split()[3] for line in str(answer).splitlines()[:3]}
    assert lines == {"both": f"{items['both']['probability']:.1%}", "picture": "0.0%", "text": "-"}


def test_extreme_cosines_overflow_nothing(tmp_path: Path) -> None:
    engine = Engine.load(tiny.write_artifact(tmp_path / "model", logits={"scale": 1e6, "bias": 0.0}))
    row = np.eye(1, tiny.DIM, dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert engine.match_probabilities(row, np.concatenate([row, -row])).tolist() == [[1.0, 0.0]]


def test_a_model_without_logits_says_so_for_that_query_alone(engine: Engine, colours: Catalogue) -> None:
    recommender = Recommender(engine, colours)
    message = "probability: expected a model that was trained to give one, such as a SigLIP, found a tiny without"
    with pytest.raises(InputError, match=message):
        recommender.recommend("red", probability=True)
    with pytest.raises(InputError, match=message):
        engine.match_probabilities(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32))
    failures: list[Any] = []
    queries: list[dict[str, Any]] = [{"text": "red", "probability": True}, {"text": "red"}]
    first, second = recommender.recommend_batch(queries, on_error=failures.append)
    assert [failure.index for failure in failures] == [0] and not len(first) and len(second) == 3


def test_only_true_and_false_ask_for_probabilities() -> None:
    with pytest.raises(InputError, match="probability: expected true or false, found 'yes'"):
        Query.from_dict({"text": "red", "probability": "yes"})


def test_the_command_line_prints_them(siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.fromarray(tiny.picture("red")).save(tmp_path / "red.png")
    (tmp_path / "shop.csv").write_text("id,text,image\na,blue shoe,red.png\n")
    shelf = str(tmp_path / "shelf")
    assert main(["index", str(tmp_path / "shop.csv"), shelf, "--artifact", str(siglip)]) == 0
    capsys.readouterr()
    command = [
        "recommend",
        "--catalogue",
        shelf,
        "--text",
        "red",
        "--probability",
        "--html",
        str(tmp_path / "page.html"),
    ]
    assert main([*command, "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["recommendations"]
    assert 0 < item["probability"] < 1
    assert f"match {item['probability']:.1%}" in (tmp_path / "page.html").read_text()
