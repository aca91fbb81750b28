from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from clipshelf.catalogue.filtering.filter_parser import parse_where
from clipshelf.catalogue.filtering.filter_words import to_words
from clipshelf.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

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
        ("category=shoes or category=hats", {"or": [{"category": {"==": "shoes"}}, {"category": {"==": "hats"}}]}),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("category in (shoes, hats)", {"category": {"in": ["shoes", "hats"]}}),
        ('category IN [shoes, "a, b",]', {"category": {"in": ["shoes", "a, b"]}}),
        ("category not in (shoes)", {"not": {"category": {"in": ["shoes"]}}}),
        ("tags not contains sale", {"not": {"tags": {"contains": "sale"}}}),
        ("price is missing", {"price": {"==": None}}),
        ("price IS NOT Missing", {"price": {"!=": None}}),
        ("not price<3", {"not": {"price": {"<": 3}}}),
        (
            "price<3 or price>5 and sold=no",
            {"or": [{"price": {"<": 3}}, {"and": [{"price": {">": 5}}, {"sold": {"==": False}}]}]},
        ),
        (
            "(price<3 or price>5) and sold=Yes",
            {"and": [{"or": [{"price": {"<": 3}}, {"price": {">": 5}}]}, {"sold": {"==": True}}]},
        ),
        ("not (not ((price=1)))", {"not": {"not": {"price": {"==": 1}}}}),
        ("category='it''s' or category=levi's", {"or": [{"category": {"==": "it's"}}, {"category": {"==": "levi's"}}]}),
        ('category="null"', {"category": {"==": "null"}}),
        ("category=wow!", {"category": {"==": "wow!"}}),
        ("\n price < 1e3\t", {"price": {"<": 1000.0}}),
    ],
)
def test_the_language_of_filters(text: str, expected: Any) -> None:
    assert parse_where(text, KINDS) == expected


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("category=shoes or hats", 23, r"write category in \(shoes, hats\)"),
        ("category=shoes, hats", 15, r"write category in \(shoes, hats\)"),
        ("category=shoes and", 19, "found the end of the filter"),
        ("category=and", 10, "the value and stands in quotes"),
        ("category=not shoes", 10, "a value with the word not stands in quotes"),
        ("category=made in italy", 15, "a value with the word in stands in quotes"),
        ("category=\u201cshoes\u201d", 10, "straight quotes"),
        ("category=null", 10, 'write is missing, or "null" in quotes'),
        ("price is null", 10, "write is missing"),
        ("category in {shoes, hats}", 13, "a list stands in parentheses"),
        ("category in (running shoes)", 22, "a value with blanks or other signs stands in quotes"),
        ("category in ()", 14, r"found '\)'"),
        ("category=(shoes, hats)", 10, "a list follows in"),
        ("sold out=true", 6, 'stands in quotes, such as "sold out"'),
        ("category like shoe", 10, "found by contains"),
        ("price between 10 and 20", 7, "write two conditions"),
        ("price<>3", 6, "not equal is !="),
        ("price\u22643", 6, "at most is <="),
        ("price=<3", 6, "at most is <="),
        ("!sold=true", 1, "write not before a condition"),
        ("category=a && price<3", 12, "write and, or quotes"),
        ("category=a | price<3", 12, "write or, or quotes"),
        ("category=shoes price<3", 21, "a value with < stands in quotes"),
        ('category="a" shoes', 14, "stands in quotes as a whole"),
        ("10<price<20", 9, "each condition has one operator"),
        ("price<10 \u20ac", 7, "a number, such as 9.99"),
        ("price<1,000", 8, "found ',000'"),
        ("price<'10'", 7, "stand without quotes"),
        ("category<40", 10, 'declare category:number .* category<"40", with quotes, compares letters'),
        ("category>=1.099,00 \u20ac", 11, "where 10 comes before 9"),
        ("category>5mm", 10, "where 10 comes before 9"),
        ("category<31.12.2025", 10, "or a date"),
        ("price<" + "9" * 5000, 7, "a number, such as 9.99"),
        ("(price<3", 9, r"a closing \)"),
        ("price<3)", 8, r"no opening one stands before the \)"),
        ("category='shoes", 10, "a closing '"),
        ("in=3", 1, "a column named in stands in quotes"),
        ("not", 4, "a condition"),
        ("(" * 60 + "price<3" + ")" * 60, 51, "nested less deeply"),
    ],
)
def test_what_is_not_understood_is_told_with_its_position(text: str, position: int, hint: str) -> None:
    with pytest.raises(InputError, match=rf"^where: character {position}: .*{hint}") as error:
        parse_where(text, KINDS)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("value", ["shoes", '"40"', "2026-05-01", "'5mm'"])
def test_texts_are_ordered_by_their_letters(value: str) -> None:
    assert parse_where(f"category<{value}", KINDS) == {"category": {"<": value.strip("\"'")}}


@pytest.mark.parametrize(
    "junk",
    [
        " " * 99_999,
        "not " * 24_000,
        "(" * 99_999,
        "'" * 99_999,
        "category=" + "b " * 45_000,
        "category=" + "'\"'" * 30_000,
        "price in (" + "1," * 45_000 + "1)",
        "category=a and " * 6_000 + "category=a",
        "a!" * 49_000,
        "a'" * 49_000,
    ],
)
def test_it_takes_linear_time(junk: str) -> None:
    start = time.thread_time()
    with suppress(InputError):
        parse_where(junk, KINDS)
    assert time.thread_time() - start < 2


def test_a_filter_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(InputError, match="where: expected at most 100,000 characters, found 100,001"):
        parse_where("'" * 100_001, KINDS)


WORDS = [
    "price",
    "category",
    "tags",
    "sold out",
    "and",
    "or",
    "not",
    "in",
    "is",
    "missing",
    "contains",
    "null",
    "1",
    "&&",
]
SIGNS = ["(", ")", "[", "]", ",", "=", "==", "!=", "<", ">=", "<>", "!", '"', "'", "\u201c", "{", " ", "\n"]
PIECES = st.sampled_from([*WORDS, *SIGNS, "e\u0301", "\ud83d", "\x1b", "\u00a0", "\u0663"])


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
def test_junk_is_an_input_error_or_a_filter(text: str) -> None:
    with suppress(InputError):
        assert isinstance(parse_where(text, KINDS), dict)


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False))
COLUMNS = st.one_of(st.sampled_from(["price", "category", "tags", "sold", "sizes"]), st.text(min_size=1)).filter(
    lambda name: name not in ("and", "or", "not")
)


@st.composite
def column_tests(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(COLUMNS)
    kind = KINDS.get(name, "text").removesuffix("s")
    values = {"number": NUMBERS, "text": st.text(), "bool": st.booleans()}[kind]
    operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "contains", "missing"]))
    if operator == "in":
        return {name: {"in": draw(st.lists(values, min_size=1, max_size=4))}}
    if operator == "missing":
        return {name: {draw(st.sampled_from(["==", "!="])): None}}
    return {name: {operator: draw(values)}}


def joined(conditions: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    parts = st.lists(conditions, min_size=2, max_size=3)
    return st.one_of(
        parts.map(lambda p: {"and": p}), parts.map(lambda p: {"or": p}), conditions.map(lambda c: {"not": c})
    )


def flat(where: dict[str, Any]) -> dict[str, Any]:
    """Nested conditions of one keyword as one list, as words say them."""
    [(name, condition)] = where.items()
    if name == "not":
        return {"not": flat(condition)}
    if name != "and":
        return {name: [flat(part) for part in condition]} if name == "or" else where
    parts = [flat(part) for part in condition]
    return {"and": [inner for part in parts for inner in part.get("and", [part])]}


@given(st.recursive(column_tests(), joined, max_leaves=8).map(flat))
def test_a_filter_that_is_written_in_words_is_read_back(where: dict[str, Any]) -> None:
    assert parse_where(to_words(where), KINDS) == where
