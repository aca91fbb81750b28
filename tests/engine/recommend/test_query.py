from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from clipshelf import Interaction, Profile, Query, Recommender
from clipshelf.errors import InputError
from support.sample_query import NOW, SIGNALS


def test_a_query_comes_from_json(recommender: Recommender) -> None:
    data = {name: value for name, value in SIGNALS.items() if name != "image"} | {"profile": {"liked": ["30"]}, "k": 3}
    answer = recommender.answer(Query.from_dict(json.loads(json.dumps(data))))
    assert len(answer) == 3 and "30" in {part.id for part in answer[0].contributions}
    with pytest.raises(InputError, match=r"query: expected an object with text, .*found \['like'\]"):
        Query.from_dict({"like": ["3"]})
    with pytest.raises(InputError, match="profile: expected an object"):
        Query.from_dict({"profile": {"likes": ["3"]}})


BAD_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"text": " "}, "text: expected words, found a blank string"),
    ({"text": 5}, "text: expected str, found int 5"),
    ({"text": ["red", None]}, "text: expected str, found NoneType None"),
    ({"text": iter(["red"])}, "text: expected str, found list_iterator"),
    ({"liked": "3"}, "liked: expected a sequence, found one str"),
    ({"liked": [("3", 0)]}, "liked: expected a strength above 0 for '3', found 0"),
    ({"disliked": [("5", 1, 2)]}, r"disliked: expected an id or \(id, strength\), found \('5', 1, 2\)"),
    ({"disliked": [None]}, "disliked: expected a product id, found NoneType None"),
    ({"disliked": {"3": math.inf}}, "disliked: expected a strength above 0 for '3', found inf"),
    ({"history": [("3", "eaten", 0)]}, "history: expected a kind among"),
    ({"history": b"3"}, "history: expected a sequence, found one bytes"),
    ({"k": 0}, "k: expected 1 or more, found 0"),
    ({"k": 2.0}, r"k: expected 1 or more, found 2\.0"),
    ({"k": True}, "k: expected 1 or more, found True"),
    ({"k": None}, "k: expected 1 or more, found None"),
    ({"exclude": "3"}, "exclude: expected a sequence, found one str"),
    ({"exclude": [True]}, "exclude: expected a product id, found bool True"),
    ({"unknown": "skip"}, "unknown: expected raise or ignore, found 'skip'"),
    ({"weights": {"texts": 1}}, "weights: expected text, .* found 'texts'"),
    ({"weights": {"text": math.nan}}, "weights: text: expected a number from 0 on, found nan"),
    ({"weights": 2}, "weights: expected a dict of text, .* found int"),
    ({"diversity": -0.1}, r"diversity: expected a number from 0 to 1, found -0\.1"),
    ({"diversity": "1"}, "diversity: expected a number from 0 to 1, found '1'"),
    ({"profile": {"liked": ["3"]}}, "profile: expected a Profile, found dict"),
    ({"now": "yesterday"}, "time: expected ISO 8601, found 'yesterday'"),
    ({"now": math.inf}, "time: expected seconds since 1970, a datetime or ISO 8601, found inf"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_a_bad_argument_is_named_when_the_query_is_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Query(**{"text": "red", **arguments})
    with pytest.raises(InputError, match=message):
        replace(Query("red"), **arguments)


def test_arguments_are_brought_to_one_form() -> None:
    query = Query(
        "red shoe",
        "photo.jpg",
        liked=["a", ("b", 2), "a"],
        disliked={"c": 0.5},
        history=[("d", "added to basket", "2027-01-15T08:00:00Z")],
        k=np.int64(3),  # type: ignore[arg-type]
        exclude=["e", "f"],
        diversity=1,
        now="2027-01-15T08:00:00",
    )
    assert query.texts == ("red shoe",) and query.images == ("photo.jpg",)
    assert query.liked == {"a": 2.0, "b": 2.0} and query.disliked == {"c": 0.5}
    assert query.history == (Interaction("d", "added_to_basket", NOW),)
    assert (query.k, query.exclude, query.diversity, query.now) == (3, ("e", "f"), 1.0, NOW)
    assert type(query.k) is int and type(query.diversity) is float
    assert query.named_ids == {*"abcdef"} and query.excluded_ids == {*"abcef"}
    assert Query("red", exclude=None).exclude == () == Query("red", liked=None).taste.texts  # type: ignore[arg-type]


def test_iterators_are_read_once(recommender: Recommender) -> None:
    history = [("7", "viewed", NOW)]
    query = Query(liked=iter(["3"]), disliked=iter([("4", 2.0)]), history=iter(history), exclude=iter(["9"]), now=NOW)
    same = Query(liked=["3"], disliked=[("4", 2.0)], history=history, exclude=["9"], now=NOW)
    assert query == same
    for _ in range(2):
        answer, expected = recommender.answer(query), recommender.answer(same)
        assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in expected]


def test_a_query_with_another_argument_keeps_the_rest() -> None:
    profile = Profile(texts=["warm"], liked=["a"], history=[("d", "viewed", NOW)])
    query = Query(["red", "shoe"], liked=iter(["b"]), exclude=iter(["c"]), profile=profile, weights={"text": 2})
    other = replace(query, k=3)
    assert other.k == 3 and query.k == 10 and replace(other, k=10) == query
    assert (other.texts, other.taste, other.exclude) == (query.texts, query.taste, ("c",))
    assert replace(query, text="blue").texts == ("blue", "warm")
    with pytest.raises(FrozenInstanceError):
        query.k = 5  # type: ignore[misc]


def test_the_signals_of_query_and_profile_are_merged() -> None:
    event, later = ("d", "viewed", NOW), ("e", "bought", NOW + 1)
    profile = Profile(texts=["warm"], images=["p.jpg"], liked={"a": 2, "b": 1}, disliked=["c"], history=[event])
    query = Query(["red"], [b"picture"], liked=["a"], disliked=["b"], history=[later, event], profile=profile)
    assert query.texts == ("red", "warm") and query.images == (b"picture", "p.jpg")
    assert query.taste.liked == {"a": 1.0} and query.taste.disliked == {"b": 1.0, "c": 1.0}
    assert query.taste.history == (Interaction(*event), Interaction(*later))
    assert query.liked == {"a": 1.0} and query.history == (Interaction(*event), Interaction(*later))
    assert query.excluded_ids == {*"abc"}
    assert replace(query, exclude_bought=True).excluded_ids == {*"abce"}
    assert Query("red", profile=profile).taste is profile
    assert Query("red").taste == Profile()


def test_profiles_and_mappings_become_queries() -> None:
    profile, query = Profile(liked=["a"]), Query("red")
    assert Query.of(query, 3) is query
    assert Query.of(profile, 3) == Query(profile=profile, k=3)
    assert Query.of({"text": "red"}, 3) == Query("red", k=3)
    assert Query.of({"text": "red", "k": 4}, 3) == Query("red", k=4)
    for wrong, found in (({"texts": ["red"]}, r"\['texts'\]"), ({"taste": profile}, r"\['taste'\]"), ("red", "str")):
        with pytest.raises(InputError, match=f"query: expected an object with text, image, .*unknown, found {found}"):
            Query.of(wrong, 3)  # type: ignore[arg-type]
