from __future__ import annotations

import json

from clipshelf import Catalogue, Engine, Recommendations, Recommender
from support.shelves import made_up


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
    data = json.loads(json.dumps(answer.to_dict()))
    assert list(data) == ["recommendations", "took_ms"]
    assert list(data["recommendations"][0]) == ["id", "score", "relevance", "product"]
    assert data["recommendations"][0]["product"] == {"id": "red", "text": "red", "price": 0}
    explained = json.loads(json.dumps(answer.to_dict(explain=True)))["recommendations"][0]["contributions"]
    assert [list(part) for part in explained] == [["signal", "id", "side", "value"]] * 2
