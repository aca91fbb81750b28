from __future__ import annotations

import json
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine, index
from clipshelf.cli.main import main
from PIL import Image
from support import tiny

QUERIES = (
    '{"text": "a red shoe", "clicked": "r"}\n{"liked": ["g"], "clicked": null}\n'
    '{"session": 1, "id": "b", "kind": "viewed"}\n'
)


@pytest.fixture
def new_model(tmp_path: Path) -> str:
    return str(tiny.write_artifact(tmp_path / "new", dim=6, seed=1))


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> str:
    words = {"r": "a red shoe", "g": "a green shirt", "b": "a blue watch", "w": "warm", "x": "red shirt"}
    index(engine, [{"id": id_, "text": text} for id_, text in words.items()], tmp_path / "shelf")
    (tmp_path / "queries.jsonl").write_text(QUERIES)
    return str(tmp_path / "shelf")


def test_prepare_compare_switch_and_back(
    shelf: str, new_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reembed", shelf, "--artifact", new_model]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "current generation 1: 5 products, 4 dimensions" in out[0] and out[1].endswith(new_model)
    assert main(["reembed", shelf, "--compare", str(tmp_path / "queries.jsonl"), "-k", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    comparison = found["comparison"]
    assert (found["current"]["generation"], found["prepared"]["generation"], found["previous"]) == (1, 2, None)
    assert comparison["queries"] == 3 and comparison["k"] == 2
    assert (
        0
        <= comparison["overlap"]
        == pytest.approx(1 - sum(len(change["gone"]) for change in comparison["changes"]) / 6)
    )
    assert main(["reembed", shelf, "--compare", str(tmp_path / "queries.jsonl"), "-k", "2", "--switch"]) == 0
    printed = capsys.readouterr().out
    assert "current generation 2: 5 products, 6 dimensions" in printed
    assert f"overlap          {comparison['overlap']:.3f}" in printed
    assert main(["recommend", "--catalogue", shelf, "--text", "a red shoe", "-k", "1"]) == 0
    assert main(["reembed", shelf, "--back"]) == 0
    assert Catalogue.load(shelf).dim == 4
    assert main(["reembed", shelf, "--discard"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{shelf}: current generation 3: 5 products, 4 dim")


def test_the_embedded_default_can_be_the_new_model(shelf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reembed", shelf, "--default-model", "--switch"]) == 0
    assert "the embedded default" in capsys.readouterr().out.splitlines()[0]
    assert Catalogue.load(shelf).model is None


def test_a_bad_query_is_left_out_when_asked(
    shelf: str, new_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = tmp_path / "bad.jsonl"
    queries.write_text('{"text": "red"}\n{"liked": ["nobody"]}\n')
    command = ["reembed", shelf, "--artifact", new_model, "--compare", str(queries)]
    assert main(command) == 1
    assert "query 1: " in capsys.readouterr().err
    assert main([*command, "--on-error", "skip"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("1 queries") == 1 and "left out query 1" in captured.err


def test_a_picture_of_several_that_is_gone_is_left_out_when_asked(
    engine: Engine, new_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for colour in ("red", "green"):
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    (tmp_path / "products.jsonl").write_text('{"id": "a", "image": ["red.png", "green.png"]}')
    shelf = str(tmp_path / "shelf")
    index(engine, tmp_path / "products.jsonl", shelf)
    (tmp_path / "green.png").unlink()
    assert main(["reembed", shelf, "--artifact", new_model]) == 1
    assert "clipshelf: product 'a': image 2: expected the file" in capsys.readouterr().err
    assert main(["reembed", shelf, "--artifact", new_model, "--on-error", "skip", "--allow-shrink", "1"]) == 1
    assert "left out the image 2 of product 'a': expected the file" in capsys.readouterr().err
    assert Catalogue.load(shelf, part="prepared").products[0]["image"] == ["red.png"]


@pytest.mark.parametrize(
    "options", [[], ["--back", "--switch"], ["--discard", "--artifact", "x"], ["--artifact", "x", "--default-model"]]
)
def test_what_does_not_go_together_is_misuse(shelf: str, options: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["reembed", shelf, *options])
    assert error.value.code == 2
