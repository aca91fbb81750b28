from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.model.text_cleaning import clean_text
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<p>A warm <b>win</b>ter jacket</p>", "A warm winter jacket"),
        (
            '<div class="d"><p style="color:#333">A warm<br/>jacket</p><ul><li>wool<li>red</ul></div>',
            "A warm\njacket\nwool\nred",
        ),
        ("Men&#39;s shoes &amp; boots", "Men's shoes & boots"),
        ("&lt;b&gt;Caf&eacute;&lt;/b&gt;", "Café"),
        ("&amp;lt;i&amp;gt;new&amp;lt;/i&amp;gt;", "new"),
        ("<!-- internal: 12 --><P>Warm</P>", "Warm"),
        ("<script>alert('<p>')</script>Shoes<style>p{}</style>", "Shoes"),
        ("CafÃ© crÃ¨me â€\u201c fÃ¼r zwei", "Café crème \u2013 für zwei"),
    ],
)
def test_markup_entities_and_broken_encodings_go(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean
    assert clean_text(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "I <3 shoes",
        "R&D, AT&T and M&S",
        "sizes 5<10>3",
        "<unknown> stays",
        "a <!-- comment without an end",
        "Ärmel, crème, Ångström, 100 €",
        "two  blanks\n\nand lines",
        "",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert clean_text(text) == text


@given(st.text(max_size=200))
def test_any_text_is_cleaned_without_an_error(text: str) -> None:
    assert isinstance(clean_text(text), str)


@pytest.mark.parametrize("piece", ["<", "<p ", "<!--", "&", "&amp;", "<script>", "</", "<b><", "Ã"])
def test_the_time_is_linear(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * count
        start = time.perf_counter()
        clean_text(text)
        return time.perf_counter() - start

    seconds(1000)
    small, large = min(seconds(20_000) for _ in range(3)), min(seconds(160_000) for _ in range(3))
    assert large < max(0.05, 40 * small)


def test_an_engine_embeds_what_people_read_unless_told_otherwise(tiny_artifact: Path) -> None:
    plain, marked = "red shoe", "<p>red&#32;<b>shoe</b></p>"
    rows = Engine.load(tiny_artifact).embed_texts([plain, marked])
    np.testing.assert_array_equal(rows[0], rows[1])
    raw = Engine.load(tiny_artifact, clean_texts=False).embed_texts([plain, marked])
    assert raw[0] @ raw[1] < 0.99
