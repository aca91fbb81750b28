from __future__ import annotations

from typing import Any

import pytest
from clipshelf.catalogue.filter_parser import parse_where
from clipshelf.errors import InputError

KINDS = {"price": "number", "category": "text", "sold out": "bool", "sold": "bool", "tags": "texts", "sizes": "numbers"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price<100", {"price": {"<": 100}}),
        ("price >= 9.5", {"price": {">=": 9.5}}),
        ("category=shoes", {"category": {"==": "shoes"}}),
        ("category == '100'", {"category": {"==": "100"}}),
        ("category = sport and leisure", None),
        ('category = "sport and leisure"', {"category": {"==": "sport and leisure"}}),
        ("category != running shoes", {"category": {"!=": "running shoes"}}),
        ("category in shoes, hats", {"category": {"in": ["shoes", "hats"]}}),
        ("category in 'salt, pepper', \"a'b, c\", hats", {"category": {"in": ["salt, pepper", "a'b, c", "hats"]}}),
        ("'sold out'=true", {"sold out": {"==": True}}),
        ('"sold out"!=true and price<1', {"and": [{"sold out": {"!=": True}}, {"price": {"<": 1}}]}),
        ("tags contains sale", {"tags": {"contains": "sale"}}),
        ("sizes contains 42", {"sizes": {"contains": 42}}),
        ("sold=true", {"sold": {"==": True}}),
        ("price<100 and category=shoes", {"and": [{"price": {"<": 100}}, {"category": {"==": "shoes"}}]}),
        (
            "price>1 and price<2 and price!=-3",
            {"and": [{"price": {o: v}} for o, v in ((">", 1), ("<", 2), ("!=", -3))]},
        ),
        ("", None),
        ("price", None),
        ("<100", None),
        ("price<cheap", None),
        ("price<100 and", None),
        ("category=shoes or category=hats", None),
        ("category in shoes, a>b", None),
        ("category='a>b'", {"category": {"==": "a>b"}}),
    ],
)
def test_conditions_in_words(text: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(InputError, match="where: "):
            parse_where(text, KINDS)
    else:
        assert parse_where(text, KINDS) == expected
