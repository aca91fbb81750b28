"""Relevance under filters, its least value, and its calibration with a shop's own queries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.indexing import change
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.errors import CatalogueError, InputError
from clipshelf.failures import Failure
from clipshelf.recommend.relevance_fit import area_under_curve, calibration_error, fit_outcomes, fit_relevance
from support import oracle
from support.sample_query import DIM
from support.shelves import clustered, shelf_with

COUNT = 600


@pytest.fixture
def shop(wide_engine: Engine) -> Recommender:
    """COUNT products, of which every hundredth is rare."""
    records = [{"rare": not row % 100, "price": row} for row in range(COUNT)]
    return Recommender(wide_engine, shelf_with(wide_engine, clustered(COUNT, DIM), records))


@pytest.mark.parametrize(
    ("limits", "answerable"),
    [
        ({}, COUNT - 1),
        ({"where": "rare=true"}, 6),
        ({"where": "price<300", "exclude": ["0", "1", "599", "nothing"]}, 300 - 3),
        ({"where": "price<300 and price>300"}, 0),
    ],
)
def test_relevance_counts_the_products_that_may_be_answered(
    shop: Recommender, limits: dict[str, Any], answerable: int
) -> None:
    answer = shop.recommend(liked=["7"], k=3, **limits)
    scores = oracle.cosine_scores(shop, liked={"7": 1.0})
    for item in answer:
        expected = oracle.relevance(scores, scores[int(item.id)], answerable)
        assert item.relevance == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert len(answer) == min(3, answerable)


def test_a_narrow_filter_does_not_lower_the_relevance_of_its_best(shop: Recommender) -> None:
    best = shop.recommend(liked=["7"], k=1)[0]
    filtered = shop.recommend(liked=["7"], k=1, where=f"id in ({best.id}, 3)")[0]
    assert filtered.id == best.id and filtered.relevance > best.relevance


def test_the_list_ends_at_the_least_relevance(shop: Recommender) -> None:
    everything = shop.recommend(liked=["7"], k=COUNT)
    fourth = everything[3].relevance
    for least in (0.0, fourth, 1.0):
        expected = [item.id for item in everything if item.relevance >= least]
        assert [item.id for item in shop.recommend(liked=["7"], k=COUNT, min_relevance=least)] == expected
    varied = shop.recommend(liked=["7"], k=20, min_relevance=fourth, diversity=0.5)
    assert {item.id for item in varied} == {item.id for item in [*everything][:4]}
    with pytest.raises(InputError, match=r"min_relevance: expected a number from 0 to 1, found 2"):
        shop.recommend(liked=["7"], min_relevance=2)


def test_an_answer_that_the_least_relevance_empties_says_so(shop: Recommender) -> None:
    shop = Recommender(shop.engine, shop.catalogue.with_relevance_curve(RelevanceCurve(1.0, -99.0, 30)))
    note = shop.recommend(liked=["7"], min_relevance=0.5).note
    assert note == "no product has the relevance that was asked for, 0.5 or more"
    assert "no product passes the filter" in str(shop.recommend(liked=["7"], min_relevance=0.5, where="price<0").note)


def made_up_outcomes(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Relevances, and outcomes whose probability is that of a curve of slope 0.7 and intercept -1."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-5, 8, count)
    found = rng.random(count) < 1 / (1 + np.exp(-(0.7 * inputs - 1)))
    return np.exp(-np.exp(-inputs)), found


def test_the_curve_is_found_again() -> None:
    fit = fit_outcomes(*made_up_outcomes(20_000))
    assert fit.curve.slope == pytest.approx(0.7, rel=0.05) and fit.curve.intercept == pytest.approx(-1, rel=0.05)
    assert fit.error_before > 0.05 and fit.error_after < 0.01
    assert fit.queries == fit.curve.queries == 20_000


def test_auc_and_calibration_error_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(1)
    scores, found = np.round(rng.random(60), 1), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[found] for b in scores[~found]]
    assert area_under_curve(scores, found) == pytest.approx(np.mean(pairs))
    scores, found = np.array([0.1, 0.2, 0.8, 0.9] * 5), np.array([False, False, True, True] * 5)
    # Ten bins of two: five times |0.15 - 0|, and five times |0.85 - 1|, whatever the order of equal ones.
    assert calibration_error(np.sort(scores), np.sort(found)) == pytest.approx(0.15)


def test_the_order_of_relevances_stays(shop: Recommender) -> None:
    calibrated = Recommender(shop.engine, shop.catalogue.with_relevance_curve(RelevanceCurve(0.5, -1.0, 99)))
    before, after = (each.recommend(liked=["7"], k=5) for each in (shop, calibrated))
    for old, new in zip(before, after, strict=True):
        logit = 0.5 * -np.log(-np.log(old.relevance)) - 1
        assert new.id == old.id and new.relevance == pytest.approx(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize(
    ("relevance", "found", "message"),
    [
        ([0.5] * 29, [True, False] * 14 + [True], "expected at least 30"),
        ([0.5] * 40, [True] * 36 + [False] * 4, "found 36 with and 4 without"),
        ([0.9, 0.1] * 30, [False, True] * 30, "no curve would help"),
    ],
)
def test_data_that_give_no_curve_are_refused(relevance: list[float], found: list[bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_outcomes(np.array(relevance), np.array(found))


def log_of(shop: Recommender, count: int) -> list[dict[str, Any]]:
    """Queries for products like a product, of which every third looks for what no answer has."""
    records: list[dict[str, Any]] = []
    for row in range(count):
        best = shop.recommend(liked=[str(row)], k=1)[0].id
        records.append({"liked": [str(row)], "clicked": None if row % 3 == 0 else [best, "gone"]})
    return records


def test_a_shop_fits_its_own_queries(shop: Recommender) -> None:
    records = log_of(shop, 60)
    # Make relevance tell: the products that nothing is like are those that were not found.
    for i, record in enumerate(records):
        record["where"] = "price<0" if record["clicked"] is None else f"price>={i % 2}"
    failures: list[Failure] = []
    bad: list[Any] = [{"liked": ["1"]}, {"text": "red", "clicked": "gone"}, 3, {"liked": ["gone"], "clicked": "1"}]
    fit = fit_relevance(shop, [*bad, *records], on_error=failures.append)
    assert (fit.queries, fit.found, fit.auc) == (60, 40, 1.0)
    assert [failure.index for failure in failures] == [0, 1, 2, 3]
    assert re.match(r"query 0: expected an object with the fields of a query and clicked, found", failures[0].reason)
    assert "expected ids that the catalogue has, found ['gone']" in failures[1].reason
    with pytest.raises(
        InputError, match="query 0: expected an object with the fields of a query and clicked, found int"
    ):
        fit_relevance(shop, bad[2:])


def test_the_curve_is_kept_with_the_catalogue(engine: Engine, colours: Catalogue, tmp_path: Path) -> None:
    curve = RelevanceCurve(0.25, -1.5, 77)
    colours.with_relevance_curve(curve).save(tmp_path / "shop")
    loaded = Catalogue.load(tmp_path / "shop")
    assert loaded.relevance_curve == curve
    added = change(tmp_path / "shop", lambda catalogue: catalogue.add(engine, [{"id": "new", "text": "red"}]))
    assert added.relevance_curve == Catalogue.load(tmp_path / "shop", verify=True).relevance_curve == curve
    manifest = json.loads((tmp_path / "shop/manifest.json").read_text())
    assert manifest["relevance_curve"] == {"slope": 0.25, "intercept": -1.5, "queries": 77}
    assert change(tmp_path / "shop", lambda c: c.with_relevance_curve(None)).relevance_curve is None


@pytest.mark.parametrize("data", [3, {}, {"slope": 0, "intercept": 1, "queries": 3}, {"slope": 1, "intercept": 1}])
def test_a_curve_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(CatalogueError, match="relevance_curve: expected slope, intercept and queries, found"):
        RelevanceCurve.from_dict(data)
