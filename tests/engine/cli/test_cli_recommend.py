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
    assert text.count('<dl class="parts">') == 2
    assert main([*command, "--explain", "--exclude-bought", "--exclude", "blue"]) == 0
    assert capsys.readouterr().out.strip().endswith("ms")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("no/page.html", "No such file or directory: "),
        (".", "Is a directory: "),
        ("..", "Is a directory: "),
        ("/", "Is a directory: "),
        ("", "Is a directory: "),
    ],
)
def test_a_page_that_cannot_be_written_is_named_after_the_answer(
    catalogue: Path, page: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(catalogue.parent)
    assert main(["recommend", "--catalogue", str(catalogue), "--text", "red", "--html", page]) == 1
    output = capsys.readouterr()
    assert output.err == f"clipshelf: {message}{page or '.'}\n" and len(output.out.splitlines()) == 4


def test_an_empty_answer_says_how_many_products_each_condition_lets_through(
    catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recommend", "--catalogue", str(catalogue), "--text", "red", "--where", "price<5 or price>99"]
    command += ["--where", "price is not missing"]
    assert main(command) == 0
    note = (
        "no product passes the filter: of 3 products (price<5 or price>99) lets 0 through, price is not missing lets 3"
    )
    assert note in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["recommendations"] == [] and answer["note"].startswith(note)


@pytest.mark.parametrize("where", ["price<5)", "(price<5", "price<5) or (price<5", "category in {a}", " "])
def test_a_filter_that_is_not_understood_is_misuse(
    catalogue: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["recommend", "--catalogue", str(catalogue), "--text", "red", "--where", where, "--where", "price<5"])
    assert stop.value.code == 2 and "error: where: " in capsys.readouterr().err


def test_ids_that_begin_with_a_dash_and_numbers(
    shop: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(shop.parent / "dashes")
    shop.write_text("id,text\n-abc,red\n-5,green\n15970,blue\n-k,warm\n")
    assert main(["index", str(shop), out, "--artifact", str(tiny_artifact)]) == 0
    recommend = ["recommend", "--catalogue", out, "--json", "--explain"]
    capsys.readouterr()
    assert (
        main([*recommend, "--like", "-abc", "2", "--dislike", "-5", "--history", "15970", "bought", "2026-01-01"]) == 0
    )
    answer = json.loads(capsys.readouterr().out)
    parts = answer["recommendations"][0]["contributions"]
    assert {part["id"] for part in parts} >= {"-abc", "-5"}
    assert main([*recommend, "--text", "red", "--exclude", "-abc", "--exclude=-k"]) == 0
    assert {item["id"] for item in json.loads(capsys.readouterr().out)["recommendations"]} == {"-5", "15970"}
    with pytest.raises(SystemExit):
        main([*recommend, "-text", "red"])
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith("error: unrecognized arguments: -text red")
    assert main(["remove", out, "-abc", "-5"]) == 0
    assert "2 products" in capsys.readouterr().out


def test_unknown_ids_are_ignored_where_that_is_said(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = catalogue.parent / "person.json"
    Profile(liked=["red", "gone\x1b"], history=[("old", "bought", "2026-01-01")]).save(profile)
    command = ["recommend", "--catalogue", str(catalogue), "--profile", str(profile), "--json"]
    assert main([*command, "--exclude", "never"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["unknown_ids"] == ["gone\x1b", "never", "old"]
    note = "clipshelf: note: ignored ids that the catalogue does not have: 'gone\\x1b', 'never', 'old'\n"
    assert output.err == note
    assert main([*command, "--like", "nobody"]) == 1
    message = capsys.readouterr().err
    assert "found 'nobody'" in message and 'unknown="ignore"' in message and len(message.splitlines()) == 1
    page = catalogue.parent / "page.html"
    assert main([*command, "--like", "nobody", "--unknown", "ignore", "--html", str(page)]) == 0
    assert "'nobody'" in capsys.readouterr().err and "<b>liked</b> nobody (unknown)" in page.read_text()


@pytest.mark.parametrize("time", ["2026", "5", "yesterday", "99999999999"])
def test_a_time_that_is_ambiguous_is_misuse(time: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["recommend", "--catalogue", "x", "--history", "a", "bought", time])
    assert stop.value.code == 2 and "error: time: expected" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["99999", "9" * 5000, "0", "-1"])
def test_threads_are_limited(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["recommend", "--catalogue", "x", "--text", "y", "--threads", threads])
    assert stop.value.code == 2 and "argument --threads: expected" in capsys.readouterr().err


def test_recommend_arranges_the_answer(catalogue: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["recommend", "--catalogue", str(catalogue), "--image", str(shop.parent / "blue.png"), "--json"]
    options = [
        "--boost",
        "price=0.5",
        "--group-by",
        "price",
        "--group-members",
        "1",
        "--explain",
        "--crop",
        "0,0,0.5,1",
    ]
    assert main([*command, *options]) == 0
    [item] = json.loads(capsys.readouterr().out)["recommendations"]
    assert item["id"] == "blue" and item["group"]["size"] == 3 and len(item["group"]["members"]) == 1
    # All prices are alike, so that each is the median.
    assert {"signal": "boost price", "id": None, "side": None, "value": 0.0} in item["contributions"]
    for wrong in (["--boost", "price"], ["--boost", "price=much"], ["--crop", "0,0"], ["--fresh", "=3d"]):
        with pytest.raises(SystemExit, match="2"):
            main([*command, *wrong])
    assert main([*command, "--fresh", "price=30d"]) == 1
    assert "fresh: expected a column of kind date" in capsys.readouterr().err
