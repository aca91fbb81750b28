"""Logs with a known answer: the taste behind them must win, and the numbers must be those of an oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.cli.main import main
from clipshelf.errors import InputError
from clipshelf.evaluate.contenders import Popularity, Random, RecommenderContender
from clipshelf.evaluate.evaluation import Evaluation, evaluate
from clipshelf.evaluate.remembering import RememberingEngine
from clipshelf.evaluate.sessions import Session, read_sessions
from clipshelf.evaluate.weight_search import halves, search_weights
from clipshelf.failures import Failure

COLOURS, THINGS = ("red", "green", "blue"), ("shoe", "shirt", "watch")


@pytest.fixture
def catalogue(engine: Engine) -> Catalogue:
    products = [
        {"id": f"{colour}-{thing}-{n}", "text": f"{colour} {thing}", "n": n}
        for colour in COLOURS
        for thing in THINGS
        for n in range(30)
    ]
    return Catalogue.build(engine, products)


def by_likes(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """People who write about one thing, and choose what is like another thing that they looked at."""
    rng = np.random.default_rng(seed)
    log = []
    for _ in range(count):
        written, wanted = rng.permutation([f"{c} {t}" for c in COLOURS for t in THINGS])[:2]
        liked, chosen = rng.permutation(30)[:2]
        name = wanted.replace(" ", "-")
        log.append({"text": written, "liked": [f"{name}-{liked}"], "clicked": f"{name}-{chosen}"})
    return log


def measured(contenders: Any, sessions: list[Session], catalogue: Catalogue, k: int = 30) -> Evaluation:
    return evaluate(contenders, sessions, catalogue, k=k, resample_count=200)


def test_the_hidden_taste_wins_beside_the_floors(engine: Engine, catalogue: Catalogue) -> None:
    sessions = read_sessions(by_likes(200), catalogue)
    recommender = Recommender(engine, catalogue)
    found = measured(
        {
            "words": RecommenderContender(recommender, {"weights": {"liked": 0}}),
            "likes": RecommenderContender(recommender, {"weights": {"text": 0}}),
            "popularity": Popularity(catalogue, sessions),
            "random": Random(catalogue),
        },
        sessions,
        catalogue,
    )
    assert found.metrics["likes"]["recall"].value == 1.0  # the 29 others of the kind, and one more
    assert found.metrics["words"]["recall"].value < 0.1
    assert found.differences["likes"]["ndcg"].low > 0.2
    chance = 30 / 269
    assert found.metrics["random"]["recall"].low < chance < found.metrics["random"]["recall"].high
    assert found.metrics["random"]["coverage"].value > 0.99
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_search_finds_the_weights_of_the_hidden_taste(engine: Engine, catalogue: Catalogue) -> None:
    searched, reported = halves(read_sessions(by_likes(200), catalogue))
    assert len(searched) == len(reported) == 100 and not {id(one) for one in searched} & {id(one) for one in reported}
    recommender = Recommender(engine, catalogue)
    weights = search_weights(recommender, searched, k=30)
    assert weights["liked"] > weights["text"] or weights["text_text"] != 1
    contenders = {
        "default": RecommenderContender(recommender),
        "found": RecommenderContender(recommender, {"weights": weights}),
    }
    assert measured(contenders, reported, catalogue).differences["found"]["ndcg"].low > 0


def test_where_all_choose_the_same_popularity_wins(engine: Engine, catalogue: Catalogue) -> None:
    rng = np.random.default_rng(0)
    log = [{"text": f"{rng.choice(COLOURS)}", "clicked": f"blue-watch-{rng.integers(3)}"} for _ in range(60)]
    sessions = read_sessions(log, catalogue)
    found = measured(
        {
            "default": RecommenderContender(Recommender(engine, catalogue)),
            "popularity": Popularity(catalogue, sessions),
        },
        sessions,
        catalogue,
        k=3,
    )
    assert found.metrics["popularity"]["recall"].value == 1.0
    assert found.differences["popularity"]["mrr"].low > 0
    assert found.metrics["popularity"]["coverage"].value == 3 / 270


def test_popularity_does_not_count_what_the_session_itself_chose(catalogue: Catalogue) -> None:
    log = [{"text": "red", "clicked": id_} for id_ in ("red-shoe-5", "red-shoe-4", "red-shoe-4", "red-shoe-3")]
    first, *_, last = sessions = read_sessions(log, catalogue)
    lists = Popularity(catalogue, sessions).rank([first, last], 3)
    assert lists[0] == ["red-shoe-4", "red-shoe-3", "red-shoe-0"]  # its own, 5, counts 0
    assert lists[1] == ["red-shoe-4", "red-shoe-5", "red-shoe-0"]


@pytest.mark.parametrize("kind", [Random, lambda catalogue: Popularity(catalogue, [])])
def test_floors_keep_to_filters_and_exclusions(kind: Any, catalogue: Catalogue) -> None:
    query = {
        "text": "red",
        "where": "n<1",
        "exclude": ["red-shoe-0"],
        "liked": {"red-shirt-0": 2.0},
        "clicked": "red-watch-0",
    }
    (session,) = read_sessions([query | {"history": [["blue-shoe-0", "viewed", 1]]}], catalogue)
    (ids,) = kind(catalogue).rank([session], 10)
    assert sorted(ids) == sorted(
        f"{c}-{t}-0" for c in COLOURS for t in THINGS if f"{c}-{t}" not in ("red-shoe", "red-shirt", "blue-shoe")
    )


def test_products_of_the_history_are_not_recommended_again(engine: Engine, catalogue: Catalogue) -> None:
    log = [{"history": [["red-shoe-1", "viewed", 1], ["red-shoe-2", "bought", 2]]}]
    (session,) = read_sessions(log, catalogue)
    (ids,) = RecommenderContender(Recommender(engine, catalogue)).rank([session], 29)
    assert "red-shoe-2" in ids and "red-shoe-1" not in ids


def test_too_few_sessions_are_refused(catalogue: Catalogue) -> None:
    with pytest.raises(InputError, match="sessions: expected at least 10 that can be used, found 9"):
        evaluate({"random": Random(catalogue)}, read_sessions(by_likes(9), catalogue), catalogue)


def test_an_engine_remembers(tiny_artifact: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    remembering = RememberingEngine.load(tiny_artifact)
    texts, calls = ["red", "blue", "red"], list[list[str]]()
    plain = Engine.embed_texts

    def counted(self: Engine, new: list[str], **options: Any) -> Any:
        calls.append(list(new))
        return plain(self, new, **options)

    monkeypatch.setattr(Engine, "embed_texts", counted)
    expected = plain(engine, texts)
    for _ in range(2):
        np.testing.assert_array_equal(remembering.embed_texts(texts), expected)
    assert calls == [["red", "blue"], []]
    failures: list[Failure] = []
    for _ in range(2):
        rows = remembering.embed_texts(["red", "\ud800", "\ud800"], on_error=failures.append)
        np.testing.assert_array_equal(rows[0], expected[0])
        assert not rows[1:].any()
    assert [failure.index for failure in failures] == [1, 2] * 2


def test_the_command(engine: Engine, catalogue: Catalogue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.save(tmp_path / "shelf")
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(record) + "\n" for record in [*by_likes(40), {"text": "red", "clicked": "gone"}]))
    command = ["evaluate", str(tmp_path / "shelf"), str(log), "-k", "30", "--setting", "likes <b>:text=0"]
    assert main([*command, "--json"]) == 1
    assert "session 40: clicked: expected ids that the catalogue has" in capsys.readouterr().err
    page = tmp_path / "page.html"
    assert main([*command, "--on-error", "skip", "--json", "--search", "--html", str(page)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found["metrics"]) == ["default", "likes <b>", "found weights", "popularity", "random"]
    assert found["sessions"] == 20 and found["metrics"]["likes <b>"]["recall"]["value"] == 1.0
    assert found["weights"].keys() >= {"text", "liked"}
    text = page.read_text()
    assert "likes &lt;b&gt;" in text and "<b>:" not in text and text.count("<svg") == 9
    assert "http" not in text.replace("http-equiv", "")
    assert main([*command, "--on-error", "skip"]) == 1
    printed = capsys.readouterr().out
    assert "likes <b> less default: ndcg +" in printed and "chance does not explain it" in printed


@pytest.mark.parametrize("setting", ["x", "x:", "x:colour=1", "x:text=many", "x:text=-1", ":text=1", "x:diversity=2"])
def test_a_wrong_setting_is_misuse(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "shelf", "log", "--setting", setting])
    assert "expected" in capsys.readouterr().err
