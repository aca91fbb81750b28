"""One product for each group, against a full search in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf import Engine, Recommender
from clipshelf.errors import InputError
from clipshelf.recommend.groups import Grouping, first_of_groups
from clipshelf.types import DoubleArray, Product
from support import oracle
from support.sample_query import DIM
from support.shelves import clustered, shelf_with

COUNT = 4000


def family(row: int) -> str | None:
    """One family has half of all products, others have one to forty; some products have none."""
    if row % 2 == 0:
        return "large"
    return None if row % 7 == 0 else f"f{int(row**0.8) // 3}"


@pytest.fixture(scope="module")
def shop(wide_engine: Engine) -> Recommender:
    records: list[Product] = [
        {"price": row % 97, "sizes": [row % 5], "sold": row % 3 == 0}
        | ({} if family(row) is None else {"family": family(row)})
        for row in range(COUNT)
    ]
    return Recommender(wide_engine, shelf_with(wide_engine, clustered(COUNT, DIM), records))


def best_of_groups(scores: DoubleArray, allowed: np.ndarray[Any, Any], k: int) -> list[int]:
    seen: set[object] = set()
    best = []
    for row in np.lexsort((np.arange(COUNT), -scores)).tolist():
        group = family(row) or row
        if allowed[row] and group not in seen:
            seen.add(group)
            best.append(row)
    return best[:k]


@pytest.mark.parametrize("k", [1, 10, 300, COUNT])
@pytest.mark.parametrize("limits", [{}, {"where": "price<30", "exclude": ["4", "8", "11"]}])
def test_the_best_of_each_family_are_those_of_a_full_search(shop: Recommender, k: int, limits: dict[str, Any]) -> None:
    answer = shop.recommend("red shoe", liked=["3"], k=k, group_by="family", **limits)
    allowed = np.array([row % 97 < 30 or not limits for row in range(COUNT)])
    allowed[[3, *map(int, limits.get("exclude", ()))]] = False
    expected = best_of_groups(oracle.cosine_scores(shop, ["red shoe"], {"3": 1.0}), allowed, k)
    assert [int(item.id) for item in answer] == expected
    for item in [*answer][:20]:
        own = family(int(item.id))
        assert item.group is not None and item.group.value == own and not item.group.members
        same = sum(allowed[row] and family(row) == own for row in range(COUNT)) if own else 1
        assert item.group.size == same


def test_members_are_the_best_others(shop: Recommender) -> None:
    answer = shop.recommend("red shoe", k=6, group_by="family", group_members=4, where="sold=true")
    scores = oracle.cosine_scores(shop, ["red shoe"])
    for item in answer:
        assert item.group is not None
        others = [row for row in range(COUNT) if row % 3 == 0 and family(row) == item.group.value is not None]
        others = sorted(set(others) - {int(item.id)}, key=lambda row: -scores[row])[:4]
        assert [member.id for member in item.group.members] == [str(row) for row in others]
        assert [member.score for member in item.group.members] == pytest.approx(scores[others].tolist(), rel=1e-6)
        assert [member.product["id"] for member in item.group.members] == [str(row) for row in others]
    data = answer.to_dict()["recommendations"][0]["group"]
    assert data["size"] >= 1 + len(data["members"]) and set(data["members"][0]) == {"id", "score", "product"}


def test_groups_go_with_boosts_diversity_and_batches(shop: Recommender) -> None:
    query = {"text": "red shoe", "k": 12, "group_by": "family", "boost": {"price": 1.0}}
    grouped, varied, plain = shop.recommend_batch([query, {**query, "diversity": 0.5}, {"text": "red shoe", "k": 12}])
    prices = np.array([product["price"] for product in shop.catalogue.products])
    below = np.array([(prices < price).sum() + (prices == price).sum() / 2 for price in prices])
    scores = oracle.cosine_scores(shop, ["red shoe"]) + 2 * below / COUNT - 1
    assert [int(item.id) for item in grouped] == best_of_groups(scores, np.ones(COUNT, bool), 12)
    for answer in (grouped, varied):
        families = [family(int(item.id)) or item.id for item in answer]
        assert len(set(families)) == len(families) == 12
    assert all(item.group is None for item in plain)


def test_columns_of_other_kinds_group_too(shop: Recommender) -> None:
    answer = shop.recommend("red shoe", k=10, group_by="sold")
    assert {item.group.value for item in answer if item.group} == {False, True} and len(answer) == 2
    assert len(shop.recommend("red shoe", k=200, group_by="price")) == 97


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"group_by": "colour"},
            "group_by: expected a column of kind text or number or bool or date among family, id, price, sold, text",
        ),
        ({"group_by": "sizes"}, "group_by: expected .*, found numbers column 'sizes'"),
        ({"group_by": 3}, "group_by: expected the name of a column, found 3"),
        ({"group_members": 3}, "group_members: expected group_by beside it, found none"),
        ({"group_by": "price", "group_members": -1}, "group_members: expected a number from 0 to 1,000, found -1"),
    ],
)
def test_what_cannot_group_is_named(shop: Recommender, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shop.recommend("red", **arguments)


def test_an_empty_answer_has_no_groups(shop: Recommender) -> None:
    assert "no product passes" in str(shop.recommend("red", group_by="family", where="price<0").note)


def test_firsts_are_positions_in_order() -> None:
    assert first_of_groups(["a", None, "b", "a", None, "b", "c"]).tolist() == [0, 1, 2, 4, 6]


def test_members_of_groups(shop: Recommender) -> None:
    grouping = Grouping(shop.catalogue.columns.column("family"))
    assert grouping.members(7).tolist() == [7]
    assert grouping.members(2).tolist() == list(range(0, COUNT, 2))
