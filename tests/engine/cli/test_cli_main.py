from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import clipshelf
import pytest
from clipshelf import Catalogue, Engine, Profile
from clipshelf.bundled import model_path
from clipshelf.cli.main import main
from PIL import Image
from support import tiny


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    path = tmp_path / "shop.csv"
    path.write_text("id,text,image,price\n" + "\n".join(f"{c},{c} <shoe>,{c}.png,9.5" for c in tiny.COLOURS))
    return path


@pytest.fixture
def catalogue(shop: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = shop.parent / "catalogue"
    assert main(["index", str(shop), str(out), "--artifact", str(tiny_artifact)]) == 0
    assert "3 products" in capsys.readouterr().out
    return out


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
    command = [
        "recommend",
        "--catalogue",
        str(catalogue),
        "--text",
        "warm",
        "--like",
        "green",
        "2",
        "--history",
        "blue",
        "rated",
        "2026-02-01",
        "2",
        "--half-life",
        "1000",
        "--profile",
        str(profile),
    ]
    command += [
        "--where",
        "price<100",
        "--where",
        "price > 1",
        "--weights",
        "text=2,text_image=0",
        "--diversity",
        "0.2",
    ]
    assert main([*command, "--explain", "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)["recommendations"]
    assert [item["id"] for item in found if item["id"] == "green"] == []
    parts = found[0]["contributions"]
    assert {part["signal"] for part in parts} >= {"text", "liked", "bought", "rated"}
    assert sum(part["value"] for part in parts) == pytest.approx(found[0]["score"], abs=1e-5)
    text = page.read_text()
    assert "where price&lt;100 and price &gt; 1" in text and "diversity 0.2" in text and "<b>liked</b> green" in text
    assert "<b>rated 2 of 5</b> blue" in text
    assert text.count('<dl class="why">') == 2
    assert main([*command, "--explain", "--exclude-bought", "--exclude", "blue"]) == 0
    assert capsys.readouterr().out.strip().endswith("ms")


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_info_tells_artifacts_and_catalogues(
    catalogue: Path, tiny_artifact: Path, flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(catalogue), *flag]) == 0
    told = capsys.readouterr().out
    assert re.search(r"products\W+3\b", told) and "fingerprint" in told and str(tiny_artifact) in told
    assert main(["info", str(tiny_artifact), *flag]) == 0
    told = capsys.readouterr().out
    assert "family" in told and "vision.onnx" in told and "fp32" in told


def test_info_says_that_the_model_is_the_embedded_one(
    default_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Catalogue.build(default_engine, [{"text": "red"}]).save(tmp_path / "catalogue")
    assert main(["info", str(tmp_path / "catalogue")]) == 0
    assert re.search(r"^  model +the embedded default$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["recommend"],
        ["recommend", "--catalogue", "x"],
        ["index", "x"],
        ["dance"],
        ["recommend", "--catalogue", "x", "--text", "y", "-k", "0"],
        ["recommend", "--catalogue", "x", "--text", "y", "--weights", "text"],
        ["recommend", "--catalogue", "x", "--text", "y", "--weights", "words=1"],
        ["recommend", "--catalogue", "x", "--text", "y", "--weights", "text=-1"],
        ["recommend", "--catalogue", "x", "--text", " "],
        ["recommend", "--catalogue", "x", "--like", "a", "1", "2"],
        ["recommend", "--catalogue", "x", "--history", "a", "viewed"],
        ["recommend", "--catalogue", "x", "--history", "a", "eaten", "2026-01-01"],
        ["recommend", "--catalogue", "x", "--text", "y", "--where", ""],
        ["recommend", "--catalogue", "x", "--text", "y", "--diversity", "2"],
    ],
)
def test_misuse_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_failure_exits_with_1_and_one_line(catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    for argv in (
        ["recommend", "--catalogue", str(tmp_path / "nowhere"), "--text", "x"],
        ["recommend", "--catalogue", str(catalogue), "--text", "x", "--where", "colour=red"],
        ["recommend", "--catalogue", str(catalogue), "--like", "nobody"],
        ["recommend", "--catalogue", str(catalogue), "--image", str(tmp_path / "nowhere.png")],
        ["recommend", "--catalogue", str(catalogue), "--text", "red", "--html", str(tmp_path / "no/page.html")],
        ["recommend", "--catalogue", str(catalogue), "--text", "red", "--artifact", str(tmp_path)],
        ["index", str(tmp_path / "nowhere.csv"), str(tmp_path / "out")],
        ["info", str(tmp_path / "nowhere")],
        ["info", str(broken)],
    ):
        assert main(argv) == 1
        told = capsys.readouterr()
        assert told.out == "" and len(told.err.splitlines()) == 1 and told.err.startswith("clipshelf: ")


def test_a_page_that_cannot_be_written_is_named(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = catalogue.parent / "no/page.html"
    assert main(["recommend", "--catalogue", str(catalogue), "--text", "red", "--html", str(page)]) == 1
    assert capsys.readouterr().err == f"clipshelf: No such file or directory: {page}\n"


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"clipshelf {clipshelf.__version__}\n"


def test_index_leaves_out_broken_pictures_when_asked(
    shop: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop.parent / "red.png").write_bytes(b"broken")
    command = ["index", str(shop), str(shop.parent / "out"), "--artifact", str(tiny_artifact)]
    assert main(command) == 1
    assert not (shop.parent / "out/manifest.json").exists()
    assert main([*command, "--on-error", "skip"]) == 1
    told = capsys.readouterr()
    assert "2 products" in told.out and "left out product 'red'" in told.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    commands = ("demo", "index", "add", "update", "remove", "verify", "recommend", "info", "export")
    assert all(command in told for command in commands)


def test_add_update_remove_and_verify(catalogue: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = shop.parent / "more.jsonl"
    more.write_text('{"sku": "w", "title": "a warm shirt"}\n{"sku": "v", "title": "a watch"}\n')
    named = ["--id-column", "sku", "--text-column", "title"]
    for command, told, code in (
        (["add", str(catalogue), str(more), *named], "5 products", 0),
        (["update", str(catalogue), str(more), *named], "5 products", 0),
        (["remove", str(catalogue), "w", "red"], "3 products", 0),
        (["verify", str(catalogue)], "all is well with 3 products", 0),
        (["add", str(catalogue), str(more), *named], "found 'v'", 1),
        (["remove", str(catalogue), "z"], "found 'z'", 1),
        (["remove", str(shop.parent / "nowhere"), "z"], "expected a catalogue folder", 1),
        (["verify", str(shop.parent / "nowhere")], "expected a catalogue folder", 1),
    ):
        assert main(command) == code
        shown = capsys.readouterr()
        assert told in (shown.err if code else shown.out)
    assert not (shop.parent / "nowhere").exists()


def test_bad_products_are_listed_with_their_reasons(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = catalogue.parent / "bad.csv"
    bad.write_text("id,text,image\nn,,nowhere.png\nm,,\no,a red watch,\n")
    assert main(["add", str(catalogue), str(bad)]) == 1
    assert "product 'm': expected a text, an image or both" in capsys.readouterr().err
    assert main(["add", str(catalogue), str(bad), "--on-error", "skip"]) == 1
    told = capsys.readouterr()
    assert "4 products" in told.out
    assert "left out product 'm': " in told.err and "left out product 'n': " in told.err and "nowhere.png" in told.err


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "clipshelf", "info", str(model_path())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1
