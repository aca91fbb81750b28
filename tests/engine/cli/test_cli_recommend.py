from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from clipshelf import Profile
from clipshelf.cli.main import main


def test_recommend_prints_a_table(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--catalogue", str(catalogue), "--text", "green", "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"\s+1\s+\d\.\d+\s+\d+%\s+green\s+green <shoe>", lines[0]) and len(lines) == 3


def test_recommend_prints_one_json_object(catalogue: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["recommend", "--catalogue", str(catalogue), "--image", str(shop.parent / "blue.png"), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recommendations"][0]["id"] == "blue"
    assert found["recommendations"][0]["product"]["price"] == 9.5
    assert found["took_ms"]["total"] > 0


def test_recommend_writes_a_page_that_stands_alone(catalogue: Path, shop: Path) -> None:
    page = shop.parent / "page.html"
    command = ["recommend", "--catalogue", str(catalogue), "--text", "<b>red</b>", "--html", str(page)]
    assert main([*command, "--image", str(shop.parent / "red.png")]) == 0
    text = page.read_text()
    assert text.count("<img ") == 4 and text.count("data:image/jpeg;base64,") == 4
    assert "&lt;b&gt;red&lt;/b&gt;" in text and "<b>red" not in text
    assert "red &lt;shoe&gt;" in text and "9.50" in text
    assert not re.search(r"https?://", text)


def test_recommend_takes_every_signal_and_limit(
    catalogue: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, page = shop.parent / "person.json", shop.parent / "page.html"
    Profile(history=[("red", "bought", "2026-01-01")]).save(profile)
    command = shlex.split(
        "recommend --text warm --like green 2 --history blue rated 2026-02-01 2 --half-life 1000 "
        "--where price<100 --where 'price > 1' --weights text=2,text_image=0 --diversity 0.2"
    )
    command += ["--catalogue", str(catalogue), "--profile", str(profile)]
    assert main([*command, "--explain", "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)["recommendations"]
    assert "green" not in {item["id"] for item in found}
    parts = found[0]["contributions"]
    assert {part["signal"] for part in parts} >= {"text", "liked", "bought", "rated"}
    assert sum(part["value"] for part in parts) == pytest.approx(found[0]["score"], abs=1e-5)
    text = page.read_text()
    assert "where price&lt;100 and price &gt; 1" in text and "diversity 0.2" in text and "<b>liked</b> green" in text
    assert "<b>rated 2 of 5</b> blue" in text
    assert text.count('<dl class="why">') == 2
    assert main([*command, "--explain", "--exclude-bought", "--exclude", "blue"]) == 0
    assert capsys.readouterr().out.strip().endswith("ms")


def test_a_page_that_cannot_be_written_is_named(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = catalogue.parent / "no/page.html"
    assert main(["recommend", "--catalogue", str(catalogue), "--text", "red", "--html", str(page)]) == 1
    assert capsys.readouterr().err == f"clipshelf: No such file or directory: {page}\n"
