from __future__ import annotations

import math
import threading
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Failure, Profile, Query, Recommender
from clipshelf.errors import FingerprintMismatch, ImageError, InputError, UnknownIdError
from support import tiny
from support.sample_query import COUNT, DIM, NOW, SIGNALS
from support.shelves import clustered, shelf


@pytest.mark.parametrize("colour", tiny.COLOURS)
def test_text_image_or_both_find_the_product(engine: Engine, colours: Catalogue, colour: str) -> None:
    recommender = Recommender(engine, colours)
    picture = tiny.picture(colour)
    for answer in (
        recommender.recommend(text=colour, k=2),
        recommender.recommend(image=picture, k=2),
        recommender.recommend(text=colour, image=picture, k=2),
    ):
        assert answer[0].id == colour and len(answer) == 2
        assert answer[0].score > answer[1].score
        assert set(answer.took_ms) == {"embed_text", "embed_image", "rank", "total"}


def test_the_photo_beside_a_text_is_decoded_in_a_thread_that_stays(engine: Engine, colours: Catalogue) -> None:
    recommender, threads = Recommender(engine, colours), set[threading.Thread]()
    for _ in range(20):
        recommender.recommend(text="red", image=tiny.Noted("red", threads))
    assert threading.current_thread() not in threads
    assert 1 <= len(threads) < 10  # a query may find the thread still on its way back


def test_the_order_of_signals_does_not_matter(recommender: Recommender) -> None:
    def turned(value: Any) -> Any:
        return value[::-1] if isinstance(value, list) else value

    answer, other = (
        recommender.recommend(**SIGNALS),
        recommender.recommend(**{name: turned(v) for name, v in SIGNALS.items()}),
    )
    assert [item.id for item in answer] == [item.id for item in other]
    np.testing.assert_allclose([item.score for item in answer], [item.score for item in other], rtol=1e-12)


def test_a_profile_is_used_alone_or_with_a_query(recommender: Recommender) -> None:
    taste = {name: SIGNALS[name] for name in ("liked", "disliked", "history")}
    profile = Profile(**taste, texts=["warm watch"])
    apart = recommender.recommend(text="warm watch", **taste, now=NOW)
    assert [item.id for item in recommender.recommend(profile=profile, now=NOW)] == [item.id for item in apart]
    both = recommender.recommend("red shoe", profile=profile, liked=["11"], now=NOW)
    assert {part.signal for part in both[0].contributions} >= {"text 1", "text 2", "liked", "viewed"}
    assert {part.id for part in both[0].contributions} >= {"3", "11"}


def test_an_empty_profile_changes_nothing(recommender: Recommender) -> None:
    event = ("9", "viewed", NOW)
    alone, beside = (recommender.recommend(history=[event] * 3, now=NOW, profile=p) for p in (None, Profile()))
    assert [(item.id, item.score) for item in alone] == [(item.id, item.score) for item in beside]
    assert alone[0].score == recommender.recommend(history=[event], now=NOW)[0].score


def test_signals_may_come_from_iterators(recommender: Recommender) -> None:
    first, second = (item.id for item in recommender.recommend(liked=iter(["3"]), history=iter([]), k=2))
    assert second == recommender.recommend(liked=["3"], exclude=iter([first]), k=1)[0].id


def test_many_queries_at_once_are_answered_as_one_by_one(recommender: Recommender) -> None:
    queries: list[Query | Profile | dict[str, Any]] = [
        Query(**SIGNALS, k=4),
        {"text": "warm", "k": 3},
        Profile(liked=["17"]),
        Query(liked=["1"], k=7, exclude=[str(i) for i in range(2, COUNT, 2)], diversity=0.3),
        {"image": tiny.picture("red"), "weights": {"image_text": 0}},
        {"text": "warm", "liked": ["5", ("9", 2.0)], "disliked": ["5", "30"], "weights": {"liked": 0, "text": 2}},
        {"profile": Profile(history=[("8", "bought", NOW), ("8", "viewed", 5), ("40", "rated", NOW, 1)]), "now": NOW},
    ]
    answers = recommender.recommend_batch(queries, k=7)
    alone = [recommender.recommend_batch([query], k=7)[0] for query in queries]
    assert [len(answer) for answer in answers] == [4, 3, 7, 7, 7, 7, 7]
    for answer, other in zip(answers, alone, strict=True):
        assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in other]
        np.testing.assert_allclose([i.relevance for i in answer], [i.relevance for i in other], atol=1e-4)
        for item, same in zip(answer, other, strict=True):
            assert list(map(str, item.contributions)) == list(map(str, same.contributions))
            assert math.isclose(sum(part.value for part in item.contributions), item.score, abs_tol=1e-5)
    assert recommender.recommend_batch([]) == []


def test_groups_of_people_are_answered_as_one_by_one_by_int8(wide_engine: Engine) -> None:
    count, rng = 40_000, np.random.default_rng(4)
    recommender = Recommender(wide_engine, shelf(wide_engine, clustered(count, DIM)))
    people = [Profile(liked=map(str, row)) for row in rng.integers(0, count, (150, 8)).tolist()]
    for person, answer in zip(people, recommender.recommend_batch(people), strict=True):
        alone = recommender.recommend(profile=person)
        assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in alone]


def test_one_bad_query_does_not_lose_the_others(recommender: Recommender) -> None:
    failures: list[Failure] = []
    queries: list[dict[str, Any]] = [
        {"text": "red"},
        {"liked": ["nothing"]},
        {"image": b"no picture"},
        {"text": "blue"},
    ]
    answers = recommender.recommend_batch(queries, on_error=failures.append)
    assert [len(answer) for answer in answers] == [10, 0, 0, 10]
    assert [failure.index for failure in failures] == [1, 2] and "'nothing'" in failures[0].reason
    with pytest.raises(UnknownIdError, match="nothing"):
        recommender.recommend_batch(queries)
    odd: list[Any] = [{"txt": "red"}, 5, "red", {"text": "red", "weights": {"text": 0}}]
    assert [len(answer) for answer in recommender.recommend_batch(odd, on_error=failures.append)] == [0, 0, 0, 0]
    assert [failure.reason.split(", found ")[1] for failure in failures[2:5]] == ["['txt']", "int", "str"]
    assert failures[5].reason.startswith("query: expected a signal that counts")


def test_an_error_of_one_query_says_nothing_of_others(recommender: Recommender) -> None:
    with pytest.raises(UnknownIdError) as of_batch:
        recommender.recommend_batch([{"liked": ["nobody"]}])
    assert "on_error" in of_batch.value.__notes__[0]
    with pytest.raises(UnknownIdError) as of_one:
        recommender.recommend(liked=["nobody"])
    assert str(of_one.value) == str(of_batch.value) and not of_one.value.__notes__


def test_failed_queries_are_reported_by_index(recommender: Recommender) -> None:
    queries: list[dict[str, Any]] = [{"liked": [str(i % COUNT)], "k": 1 + i % 3} for i in range(300)]
    for i in (7, 140, 299):
        queries[i]["weights"] = {"liked": 0}
    failures: list[Failure] = []
    answers = recommender.recommend_batch(queries, on_error=failures.append)
    assert [failure.index for failure in failures] == [7, 140, 299]
    assert [len(answer) for answer in answers] == [0 if i in (7, 140, 299) else 1 + i % 3 for i in range(300)]
    assert all(set(answer.took_ms) == {"embed_text", "embed_image", "rank", "total"} for answer in answers)
    with pytest.raises(InputError, match="query: expected a signal that counts"):
        recommender.recommend_batch(queries)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InputError, "query: expected a text, an image, likes, dislikes or a history, found none"),
        ({"text": " \n"}, InputError, "text: expected words, found a blank string"),
        ({"text": 3}, InputError, "expected str, found int"),
        ({"image": "nowhere.jpg"}, ImageError, r"nowhere\.jpg"),
        ({"text": "red", "k": 0}, InputError, "k: expected 1 or more, found 0"),
        ({"liked": ["no", "3"]}, UnknownIdError, "'no'"),
        ({"disliked": [("no", 1)]}, UnknownIdError, "'no'"),
        ({"history": [("no", "viewed", 0)]}, UnknownIdError, "'no'"),
        ({"text": "red", "exclude": "3"}, InputError, "exclude: expected a sequence, found one str"),
        ({"liked": "3"}, InputError, "liked: expected a sequence, found one str"),
        ({"liked": [("3", -1)]}, InputError, "liked: expected a strength above 0 for '3', found -1"),
        ({"liked": [("3",)]}, InputError, "liked: expected an id or"),
        ({"history": [("3", "eaten", 0)]}, InputError, "history: expected a kind among viewed.*found 'eaten'"),
        ({"history": [("3", "rated", 0, 6)]}, InputError, "expected 1 to 5 stars.*found 6"),
        ({"history": [("3", "viewed", "yesterday")]}, InputError, "time: expected ISO 8601, found 'yesterday'"),
        ({"text": "red", "weights": {"texts": 1}}, InputError, "weights: expected text, .* found 'texts'"),
        ({"text": "red", "weights": {"text": -1}}, InputError, "weights: text: expected a number from 0 on, found -1"),
        ({"text": "red", "weights": {"text": 0}}, InputError, "query: expected a signal that counts"),
        ({"history": [("3", "rated", NOW, 3)]}, InputError, "query: expected a signal that counts, .* three stars"),
        ({"text": "red", "weights": {1: 1, "a": 2}}, InputError, "weights: expected text, .* found 'a', 1"),
        ({"text": "red", "profile": {"liked": ["3"]}}, InputError, "profile: expected a Profile, found dict"),
        ({"text": ["red", 5]}, InputError, "text: expected str, found int 5"),
        ({"text": "red", "exclude": 5}, InputError, "exclude: expected a sequence, found one int"),
        ({"text": "red", "exclude": [None]}, InputError, "exclude: expected a product id, found NoneType None"),
        ({"liked": 5}, InputError, "liked: expected a sequence, found one int"),
        ({"history": 5}, InputError, "history: expected a sequence, found one int"),
        ({"text": "red", "diversity": 1.5}, InputError, "diversity: expected a number from 0 to 1, found 1.5"),
        ({"text": "red", "where": {"nothing": 1}}, InputError, "where: expected a column among"),
    ],
)
def test_misuse_is_named(
    recommender: Recommender, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        recommender.recommend(**arguments)


def test_another_models_catalogue_is_refused(colours: Catalogue, tmp_path: Path) -> None:
    other = Engine.load(tiny.write_artifact(tmp_path, seed=1))
    with pytest.raises(FingerprintMismatch, match=f"{colours.fingerprint}.*{other.fingerprint}"):
        Recommender(other, colours)


def test_recommend_has_the_arguments_of_a_query() -> None:
    itself, *arguments = signature(Recommender.recommend).parameters.values()
    assert itself.name == "self"
    assert arguments == list(signature(Query).parameters.values())
    defaults = {argument.name: argument.default for argument in arguments}
    assert list(defaults.items()) == [
        ("text", None),
        ("image", None),
        ("liked", ()),
        ("disliked", ()),
        ("history", ()),
        ("k", 10),
        ("where", None),
        ("exclude", ()),
        ("weights", None),
        ("diversity", 0.0),
        ("profile", None),
        ("exclude_bought", False),
        ("probability", False),
        ("min_relevance", 0.0),
        ("crop", None),
        ("boost", None),
        ("fresh", None),
        ("group_by", None),
        ("group_members", 0),
        ("now", None),
        ("unknown", "raise"),
    ]
    names = [*defaults]
    keyword_only = [argument.name for argument in arguments if argument.kind is Parameter.KEYWORD_ONLY]
    assert keyword_only == names[names.index("profile") :]
    assert Recommender.recommend.__name__ == "recommend" and "those of `Query`" in str(Recommender.recommend.__doc__)


def test_arguments_may_be_given_by_position(recommender: Recommender) -> None:
    picture, weights = tiny.picture("blue"), {"text": 2.0}
    by_position = recommender.recommend(
        "red", picture, ["3"], ["4"], [("5", "viewed", NOW)], 4, {}, ["9"], weights, 0.1
    )
    by_name = recommender.recommend(
        diversity=0.1,
        weights=weights,
        exclude=["9"],
        where={},
        k=4,
        history=[("5", "viewed", NOW)],
        disliked=["4"],
        liked=["3"],
        image=picture,
        text="red",
    )
    assert [item.id for item in by_position] == [item.id for item in by_name] and len(by_position) == 4


def test_a_wrong_argument_is_a_type_error(recommender: Recommender) -> None:
    wrong: dict[str, Any] = {"texts": "red"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'texts'"):
        recommender.recommend(**wrong)
    with pytest.raises(TypeError, match="unexpected keyword argument 'taste'"):
        recommender.recommend("red", taste=Profile())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        recommender.recommend("red", None, [], [], [], 10, None, [], None, 0.0, Profile())  # type: ignore[call-arg]


@pytest.mark.parametrize("half_life", [0, -1.0, math.nan, "30", None])
def test_a_bad_half_life_is_named(engine: Engine, colours: Catalogue, half_life: Any) -> None:
    with pytest.raises(InputError, match=f"half_life: expected days above 0, found {half_life!r}"):
        Recommender(engine, colours, half_life=half_life)
