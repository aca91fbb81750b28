from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clipshelf import Catalogue, Engine, Failure, Profile, Query, Recommendations, Recommender, Weights
from clipshelf.catalogue.statistics import Statistics, sample_rows
from clipshelf.errors import FingerprintMismatch, ImageError, InputError, UnknownIdError
from clipshelf.recommend.calibration import Calibration
from clipshelf.recommend.fusion import QueryVector
from support import tiny
from support.shelves import KINDS, clustered, made_up, shelf

DIM, COUNT = 16, 120
NOW = 1_800_000_000.0
DAY = 86_400.0
SIGNALS: dict[str, Any] = {
    "text": ["red shoe", "warm watch"],
    "image": tiny.picture("blue"),
    "liked": ["3", ("9", 2.5)],
    "disliked": [("4", 0.5)],
    "history": [("5", "viewed", NOW), ("5", "viewed", NOW - 30 * DAY), ("7", "rated", NOW - 60 * DAY, 1)],
    "now": NOW,
}
WEIGHTS = {"liked": 0.7, "text": 2.0, "text_text": 1.5, "image_text": 0.1}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("wide"), dim=DIM))


@pytest.fixture
def many(wide: Engine) -> Recommender:
    return Recommender(wide, shelf(wide, clustered(COUNT, DIM)))


@pytest.fixture
def colours(engine: Engine) -> Catalogue:
    return Catalogue.build(
        engine,
        [
            {"id": colour, "text": colour, "image": tiny.picture(colour), "price": 10 * i}
            for i, colour in enumerate(tiny.COLOURS)
        ],
    )


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


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("one_sided", [True, False])
def test_the_score_is_the_weighted_mean_of_cosines_computed_apart(
    wide: Engine, corrected: bool, one_sided: bool
) -> None:
    matrix = clustered(COUNT, DIM)
    if one_sided:
        matrix[::3, :DIM] = 0
        matrix[1::6, DIM:] = 0
    catalogue = shelf(wide, matrix)
    recommender = Recommender(wide, catalogue, gap_correction=corrected)
    answer = recommender.recommend(**SIGNALS, k=COUNT, weights=WEIGHTS)
    expected = _scores_apart(wide, catalogue, corrected)
    named = {"3", "9", "4"}
    assert {item.id for item in answer} == {str(row) for row in range(COUNT)} - named
    np.testing.assert_allclose([item.score for item in answer], [expected[int(item.id)] for item in answer], atol=1e-5)
    assert [item.score for item in answer] == sorted((item.score for item in answer), reverse=True)


def _scores_apart(engine: Engine, catalogue: Catalogue, corrected: bool) -> npt.NDArray[np.float64]:
    """The documented formula, term by term."""
    weights = {"image": 1.0, "disliked": 0.1, "history": 0.5, "text_image": 0.5, "image_image": 1.0, **WEIGHTS}
    product = [np.stack([row[:DIM], row[DIM:]]).astype(np.float64) for row in catalogue.embeddings]
    text, image = np.zeros((2, 2, DIM)), np.zeros((2, DIM))
    text[:, 1] = engine.embed_texts(SIGNALS["text"])
    image[0] = engine.embed_images([SIGNALS["image"]])[0]
    # 5 was viewed now and a half-life ago, 7 was given one star two half-lives ago.
    viewed, rated = 0.2 * 1.5, -1 * 0.25
    signals = [
        (weights["text"] / 2, text[0]),
        (weights["text"] / 2, text[1]),
        (weights["image"], image),
        (weights["liked"] * 2 * 1 / (1 + 3.5), product[3]),
        (weights["liked"] * 2 * 2.5 / (1 + 3.5), product[9]),
        (-weights["disliked"] * 2 * 0.5 / 1.5, product[4]),
        (weights["history"] * 2 * viewed / (1 + viewed + 0.25), product[5]),
        (weights["history"] * 2 * rated / (1 + viewed + 0.25), product[7]),
    ]
    means, spreads = np.zeros((2, DIM)), np.ones((2, 2))
    if corrected:
        means, spreads = catalogue.statistics.means, catalogue.statistics.spreads
    names = ["image", "text"]
    above, below = np.zeros((len(product), 2)), np.zeros((len(product), 2))
    for p, sides in enumerate(product):
        for weight, signal in signals:
            for a in range(2):
                for b in range(2):
                    if signal[a].any() and sides[b].any():
                        own = weights[f"{names[a]}_{names[b]}"] * weight
                        above[p, b] += own * ((signal[a] - means[a]) @ (sides[b] - means[b])) / spreads[a, b]
                        below[p, b] += abs(own)
    scores = above.sum(axis=1) / below.sum(axis=1)
    complete = below.all(axis=1)
    if corrected:
        for b in range(2):
            alone = (below[:, b] > 0) & ~complete
            scores[alone] = above[alone, b] * scores[complete].std() / above[below[:, b] > 0, b].std()
    return np.asarray(scores)


@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_contributions_sum_to_the_score_and_name_their_signal(many: Recommender, diversity: float) -> None:
    answer = many.recommend(**SIGNALS, diversity=diversity)
    for item in answer:
        assert sum(part.value for part in item.contributions) == pytest.approx(item.score, abs=1e-9)
    signals = {(part.signal, part.id) for part in answer[1].contributions if part.signal != "diversity"}
    liked = {("liked", "3"), ("liked", "9"), ("disliked", "4"), ("viewed", "5"), ("rated", "7")}
    assert signals == {("text 1", None), ("text 2", None), ("image", None)} | liked
    assert {part.side for part in answer[1].contributions} <= {"image", "text", None}
    assert any(part.signal == "diversity" for item in answer for part in item.contributions) == bool(diversity)


def test_the_order_of_signals_does_not_matter(many: Recommender) -> None:
    def turned(value: Any) -> Any:
        return value[::-1] if isinstance(value, list) else value

    answer, other = many.recommend(**SIGNALS), many.recommend(**{name: turned(v) for name, v in SIGNALS.items()})
    assert [item.id for item in answer] == [item.id for item in other]
    np.testing.assert_allclose([item.score for item in answer], [item.score for item in other], rtol=1e-12)


def test_more_likes_of_a_kind_bring_more_of_that_kind(many: Recommender) -> None:
    liked = ["0"]
    shares = []
    for others in ([], ["1"], ["1", "7"], ["1", "7", "13"]):
        answer = many.recommend(liked=liked + others, k=20)
        shares.append(sum(int(item.id) % KINDS == 1 for item in answer))
    assert shares == sorted(shares) and shares[0] < shares[-1]
    beside_a_text = [
        many.recommend("warm", liked=[(id_, 1) for id_ in ids], k=COUNT) for ids in (["1"], ["1", "7", "13"])
    ]
    few, many_likes = (np.mean([item.score for item in a if int(item.id) % KINDS == 1]) for a in beside_a_text)
    assert many_likes > few


def test_dislikes_push_away(many: Recommender) -> None:
    before, after = many.recommend("warm", k=COUNT), many.recommend("warm", disliked=["1"], k=COUNT)
    assert _mean_rank(after, 1) > _mean_rank(before, 1)
    alone = many.recommend(disliked=["1"], k=10)
    assert all(int(item.id) % KINDS != 1 for item in alone)


def test_weights_and_strengths_act_monotonically(many: Recommender) -> None:
    ranks = [
        _mean_rank(many.recommend("warm", liked=["2"], weights={"liked": w}, k=COUNT), 2) for w in (0.01, 0.1, 1, 10)
    ]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]
    ranks = [_mean_rank(many.recommend("warm", liked=[("2", strength)], k=COUNT), 2) for strength in (0.01, 0.3, 2, 50)]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]


def _mean_rank(answer: Recommendations, kind: int) -> float:
    return float(np.mean([rank for rank, item in enumerate(answer) if int(item.id) % KINDS == kind]))


def test_old_interactions_fade_and_bought_products_can_be_left_out(many: Recommender) -> None:
    history = [("0", "bought", NOW - 300 * DAY), ("1", "bought", "2027-01-15T08:00:00Z")]
    answer = many.recommend(history=history, now=NOW, k=5)
    assert {int(item.id) % KINDS for item in answer} == {1}
    answer = many.recommend(history=history, now=NOW, k=COUNT, exclude_bought=True)
    assert {"0", "1"}.isdisjoint(item.id for item in answer)
    assert {"0", "1"} <= {item.id for item in many.recommend(history=history, now=NOW, k=COUNT)}
    slow = Recommender(many.engine, many.catalogue, half_life=1e6).recommend(history=history, now=NOW, k=20)
    assert {int(item.id) % KINDS for item in slow} > {1}


def test_more_like_this_leaves_out_this(many: Recommender) -> None:
    answer = many.recommend(liked=["8"], k=10)
    assert "8" not in {item.id for item in answer}
    assert all(int(item.id) % KINDS == 2 for item in answer)


def test_a_profile_is_used_alone_or_with_a_query(many: Recommender) -> None:
    taste = {name: SIGNALS[name] for name in ("liked", "disliked", "history")}
    profile = Profile(**taste, texts=["warm watch"])
    apart = many.recommend(text="warm watch", **taste, now=NOW)
    assert [item.id for item in many.recommend(profile=profile, now=NOW)] == [item.id for item in apart]
    both = many.recommend("red shoe", profile=profile, liked=["11"], now=NOW)
    assert {part.signal for part in both[0].contributions} >= {"text 1", "text 2", "liked", "viewed"}
    assert {part.id for part in both[0].contributions} >= {"3", "11"}


def test_a_signal_without_weight_is_never_embedded(many: Recommender) -> None:
    missing = "nowhere.jpg"
    for weights in ({"image": 0}, {"image_text": 0, "image_image": 0}):
        assert len(many.recommend("red", missing, weights=weights)) == 10
    with pytest.raises(ImageError, match="nowhere"):
        many.recommend("red", missing)


def test_filters_and_exclusions(engine: Engine, colours: Catalogue) -> None:
    recommender = Recommender(engine, colours)
    assert [item.id for item in recommender.recommend("red", where={"price": {">": 5}})] != []
    assert {item.id for item in recommender.recommend("red", where="price > 5")} == {"green", "blue"}
    assert {item.id for item in recommender.recommend("red", exclude=["red"])} == {"green", "blue"}
    assert len(recommender.recommend("red", where="price>5", exclude=["green", "blue"])) == 0


def test_one_sided_products_take_part_as_often_as_others(wide: Engine) -> None:
    count = 3000
    matrix = clustered(count, DIM)
    half = np.random.default_rng(1).permutation(count)[: count // 2]
    matrix[half[::2], :DIM], matrix[half[1::2], DIM:] = 0, 0
    recommender = Recommender(wide, shelf(wide, matrix))
    found = [item.id for row in range(60) for item in recommender.recommend(liked=[str(row)], k=20)]
    one_sided = {str(row) for row in half}
    share = np.mean([id_ in one_sided for id_ in found])
    assert 0.3 < share < 0.7, share


def test_diversity_is_maximal_marginal_relevance(many: Recommender) -> None:
    weights = Weights()
    answer = many.recommend("warm", k=8, diversity=0.6)
    fits = {item.id: item.score for item in many.recommend("warm", k=COUNT)}
    like = {
        id_: {item.id: item.score for item in many.recommend(liked=[id_], k=COUNT, weights=weights)} for id_ in fits
    }
    left, chosen = dict(fits), list[str]()
    for item in answer:
        marginal = {id_: fit - 0.6 * max([0.0, *(like[c][id_] for c in chosen)]) for id_, fit in left.items()}
        best = max(marginal, key=lambda id_: marginal[id_])
        assert item.id == best and item.score == pytest.approx(marginal[best], abs=1e-9)
        chosen.append(best)
        del left[best]
    plain = [item.id for item in many.recommend("warm", k=8)]
    assert len({int(id_) % KINDS for id_ in chosen}) > len({int(id_) % KINDS for id_ in plain})


def test_relevance_tells_what_fits_from_what_is_merely_best(wide: Engine) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1000, 2, DIM)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    matrix = noise.reshape(1000, 2 * DIM)
    recommender = Recommender(wide, shelf(wide, matrix))
    best = [recommender.recommend(liked=[str(row)], k=1)[0].relevance for row in range(200)]
    assert 0.25 < np.mean(best) < 0.75 and np.mean(np.array(best) > 0.95) < 0.15
    matrix[1] = matrix[0]
    fitting = Recommender(wide, shelf(wide, matrix)).recommend(liked=["0"], k=2)
    assert fitting[0].id == "1" and fitting[0].relevance > 0.999 and fitting[1].relevance < 0.95
    assert all(0 <= item.relevance <= 1 for item in recommender.recommend("red", k=1000))


def test_many_queries_at_once_are_answered_as_one_by_one(many: Recommender) -> None:
    queries: list[Query | Profile | dict[str, Any]] = [
        Query(**SIGNALS, k=4),
        {"text": "warm", "k": 3},
        Profile(liked=["17"]),
        Query(liked=["1"], k=7, exclude=[str(i) for i in range(2, COUNT, 2)], diversity=0.3),
        {"image": tiny.picture("red"), "weights": {"image_text": 0}},
        {"text": "warm", "liked": ["5", ("9", 2.0)], "disliked": ["5", "30"], "weights": {"liked": 0, "text": 2}},
        {"profile": Profile(history=[("8", "bought", NOW), ("8", "viewed", 5), ("40", "rated", NOW, 1)]), "now": NOW},
    ]
    answers = many.recommend_batch(queries, k=7)
    alone = [many.recommend_batch([query], k=7)[0] for query in queries]
    assert [len(answer) for answer in answers] == [4, 3, 7, 7, 7, 7, 7]
    for answer, other in zip(answers, alone, strict=True):
        assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in other]
        np.testing.assert_allclose([i.relevance for i in answer], [i.relevance for i in other], atol=1e-4)
        for item, same in zip(answer, other, strict=True):
            assert list(map(str, item.contributions)) == list(map(str, same.contributions))
            assert math.isclose(sum(part.value for part in item.contributions), item.score, abs_tol=1e-5)
    assert many.recommend_batch([]) == []


def test_one_bad_query_does_not_lose_the_others(many: Recommender) -> None:
    failures: list[Failure] = []
    queries: list[dict[str, Any]] = [
        {"text": "red"},
        {"liked": ["nothing"]},
        {"image": b"no picture"},
        {"text": "blue"},
    ]
    answers = many.recommend_batch(queries, on_error=failures.append)
    assert [len(answer) for answer in answers] == [10, 0, 0, 10]
    assert [failure.index for failure in failures] == [1, 2] and "'nothing'" in failures[0].reason
    with pytest.raises(UnknownIdError, match="nothing"):
        many.recommend_batch(queries)
    odd: list[Any] = [{"txt": "red"}, 5, "red", {"text": "red", "weights": {"text": 0}}]
    assert [len(answer) for answer in many.recommend_batch(odd, on_error=failures.append)] == [0, 0, 0, 0]
    assert [failure.reason.split(", found ")[1] for failure in failures[2:5]] == ["['txt']", "int", "str"]
    assert failures[5].reason.startswith("query: expected a signal that counts")


def test_bad_queries_are_told_by_their_number_wherever_they_stand(many: Recommender) -> None:
    queries: list[dict[str, Any]] = [{"liked": [str(i % COUNT)], "k": 1 + i % 3} for i in range(300)]
    for i in (7, 140, 299):
        queries[i]["weights"] = {"liked": 0}
    failures: list[Failure] = []
    answers = many.recommend_batch(queries, on_error=failures.append)
    assert [failure.index for failure in failures] == [7, 140, 299]
    assert [len(answer) for answer in answers] == [0 if i in (7, 140, 299) else 1 + i % 3 for i in range(300)]
    assert all(set(answer.took_ms) == {"embed_text", "embed_image", "rank", "total"} for answer in answers)
    with pytest.raises(InputError, match="query: expected a signal that counts"):
        many.recommend_batch(queries)


@pytest.mark.parametrize("count", [1, 7, 203, 1500])
def test_usual_scores_are_the_median_and_the_upper_quantile_of_a_sample(wide: Engine, count: int) -> None:
    dim, rng = 512, np.random.default_rng(2)
    catalogue = shelf(wide, clustered(count, dim))
    calibration = Calibration(catalogue, Statistics.none(dim))
    rows = rng.standard_normal((70, 2, dim))
    levels = calibration.levels([QueryVector(row, np.ones(2)) for row in rows])
    sample = catalogue.embeddings[sample_rows(count, 1024)].astype(np.float64)
    middles, uppers = np.percentile(rows.reshape(70, -1) @ sample.T, [50, 84.134], axis=1)
    np.testing.assert_allclose(levels.medians, middles, atol=1e-5)
    np.testing.assert_allclose(levels.spreads, uppers - middles, atol=1e-5)


def test_a_long_list_to_leave_out(wide: Engine) -> None:
    count = 3000
    recommender = Recommender(wide, shelf(wide, clustered(count, DIM)))
    gone = [str(row) for row in range(count) if row % 7]
    answers = recommender.recommend_batch([{"text": "warm", "exclude": gone, "k": 9}, {"text": "warm", "k": 9}])
    assert all(int(item.id) % 7 == 0 for item in answers[0]) and len(answers[0]) == 9
    assert len(answers[1]) == 9


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
        ({"text": "red", "exclude": ["no"]}, UnknownIdError, "'no'"),
        ({"text": "red", "exclude": "3"}, InputError, "exclude: expected a sequence, found one str"),
        ({"liked": "3"}, InputError, "liked: expected a sequence, found one str"),
        ({"liked": [("3", -1)]}, InputError, "liked: expected a strength above 0 for '3', found -1"),
        ({"liked": [3]}, InputError, "liked: expected an id or"),
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
        ({"text": "red", "exclude": [5]}, InputError, "exclude: expected a product id, found int 5"),
        ({"liked": 5}, InputError, "liked: expected a sequence, found one int"),
        ({"history": 5}, InputError, "history: expected a sequence, found one int"),
        ({"text": "red", "diversity": 1.5}, InputError, "diversity: expected a number from 0 to 1, found 1.5"),
        ({"text": "red", "where": {"nothing": 1}}, InputError, "where: expected a column among"),
    ],
)
def test_misuse_is_named(many: Recommender, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        many.recommend(**arguments)


@pytest.mark.parametrize("k", [99, 10**20])
def test_k_past_the_catalogue_gives_all(engine: Engine, colours: Catalogue, k: int) -> None:
    assert len(Recommender(engine, colours).recommend(text="red", k=k)) == 3
    assert len(Recommender(engine, colours).recommend(text="red", k=k, diversity=0.5)) == 3


def test_filters_of_a_batch_are_told_apart(engine: Engine, colours: Catalogue) -> None:
    other = [1e6] * 1500  # NumPy shortens what it shows of so many
    filters = [{"price": {"in": np.array([*other, *prices, *other])}} for prices in ([5.0], [0.0, 20.0], [10.0])]
    answers = Recommender(engine, colours).recommend_batch([{"text": "warm", "where": where} for where in filters])
    assert [len(answer) for answer in answers] == [0, 2, 1]


def test_signals_may_come_from_iterators(many: Recommender) -> None:
    first, second = (item.id for item in many.recommend(liked=iter(["3"]), history=iter([]), k=2))
    assert second == many.recommend(liked=["3"], exclude=iter([first]), k=1)[0].id


def test_an_empty_profile_changes_nothing(many: Recommender) -> None:
    event = ("9", "viewed", NOW)
    alone, beside = (many.recommend(history=[event] * 3, now=NOW, profile=p) for p in (None, Profile()))
    assert [(item.id, item.score) for item in alone] == [(item.id, item.score) for item in beside]
    assert alone[0].score == many.recommend(history=[event], now=NOW)[0].score


def test_another_models_catalogue_is_refused(colours: Catalogue, tmp_path: Path) -> None:
    other = Engine.load(tiny.write_artifact(tmp_path, seed=1))
    with pytest.raises(FingerprintMismatch, match=f"{colours.fingerprint}.*{other.fingerprint}"):
        Recommender(other, colours)


def test_a_query_comes_from_json(many: Recommender) -> None:
    data = {name: value for name, value in SIGNALS.items() if name != "image"} | {"profile": {"liked": ["30"]}, "k": 3}
    answer = many.answer(Query.from_dict(json.loads(json.dumps(data))))
    assert len(answer) == 3 and "30" in {part.id for part in answer[0].contributions}
    with pytest.raises(InputError, match=r"query: expected an object with text, .*found \['like'\]"):
        Query.from_dict({"like": ["3"]})
    with pytest.raises(InputError, match="profile: expected an object"):
        Query.from_dict({"profile": {"likes": ["3"]}})


def test_the_table_cuts_long_texts_and_knows_no_minus_zero() -> None:
    items = (
        made_up({"id": "i" * 40, "text": "two\nlines " + "x" * 200}, -0.0001, 0.5),
        made_up({"id": "short"}, -0.5, 0.0),
        made_up({"id": "just", "text": "y" * 100}, 12.5, 1.0),
    )
    first, second, third, took = str(Recommendations(items, {"total": 1.25})).splitlines()
    assert first == f"  1   0.000   50%  {'i' * 40}  two lines {'x' * 89}…"
    assert third == f"  3  12.500  100%  {'just':32}  {'y' * 100}"
    assert second == "  2  -0.500    0%  short" and took == "     1.2 ms"


def test_the_json_object_is_stable(engine: Engine, colours: Catalogue) -> None:
    answer = Recommender(engine, colours).recommend(text="red", k=1)
    found = json.loads(json.dumps(answer.to_dict()))
    assert list(found) == ["recommendations", "took_ms"]
    assert list(found["recommendations"][0]) == ["id", "score", "relevance", "product"]
    assert found["recommendations"][0]["product"] == {"id": "red", "text": "red", "price": 0}
    explained = json.loads(json.dumps(answer.to_dict(explain=True)))["recommendations"][0]["contributions"]
    assert [list(part) for part in explained] == [["signal", "id", "side", "value"]] * 2


def test_groups_of_people_are_answered_as_one_by_one_by_int8(wide: Engine) -> None:
    count, rng = 40_000, np.random.default_rng(4)
    recommender = Recommender(wide, shelf(wide, clustered(count, DIM)))
    people = [Profile(liked=map(str, row)) for row in rng.integers(0, count, (150, 8)).tolist()]
    for person, answer in zip(people, recommender.recommend_batch(people), strict=True):
        alone = recommender.recommend(profile=person)
        assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in alone]
