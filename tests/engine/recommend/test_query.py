from __future__ import annotations

import json

import pytest
from clipshelf import Query, Recommender
from clipshelf.errors import InputError
from support.sample_query import SIGNALS


def test_a_query_comes_from_json(recommender: Recommender) -> None:
    data = {name: value for name, value in SIGNALS.items() if name != "image"} | {"profile": {"liked": ["30"]}, "k": 3}
    answer = recommender.answer(Query.from_dict(json.loads(json.dumps(data))))
    assert len(answer) == 3 and "30" in {part.id for part in answer[0].contributions}
    with pytest.raises(InputError, match=r"query: expected an object with text, .*found \['like'\]"):
        Query.from_dict({"like": ["3"]})
    with pytest.raises(InputError, match="profile: expected an object"):
        Query.from_dict({"profile": {"likes": ["3"]}})
