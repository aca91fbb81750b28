from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf.cli.main import main


def test_index_leaves_out_broken_pictures(shop: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop.parent / "red.png").write_bytes(b"broken")
    command = ["index", str(shop), str(shop.parent / "out"), "--artifact", str(tiny_artifact)]
    assert main(command) == 1
    assert not (shop.parent / "out/manifest.json").exists()
    assert main([*command, "--on-error", "skip"]) == 1
    output = capsys.readouterr()
    assert "2 products" in output.out and "left out product 'red'" in output.err


def test_limits_of_pictures(shop: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["index", str(shop), str(shop.parent / "out"), "--artifact", str(tiny_artifact), "--on-error", "skip"]
    assert main([*command, "--image-limit", "pixels=100"]) == 1
    assert "more than the limit of 100 (ImageLimits.pixels)" in capsys.readouterr().err
    assert main([*command, "--image-limit", "pixels=1000", "--image-limit", "formats=JPEG"]) == 1
    assert "PNG" in capsys.readouterr().err
    assert main([*command, "--image-limit", "formats=jpeg, png", "--image-limit", "seconds=0.5"]) == 0


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("pixel=3", "limits: expected some of encoded_bytes"),
        ("pixels=0", "pixels: expected a positive number, found 0"),
        ("pixels=many", "expected NAME=VALUE, VALUE a number above 0, found 'many'"),
        ("pixels", "expected NAME=VALUE"),
        ("formats=EPS", "formats: expected formats that start no interpreter, found EPS"),
    ],
)
def test_a_wrong_limit_is_misuse(limit: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["index", "a", "b", "--image-limit", limit])
    assert message in capsys.readouterr().err


def test_add_update_remove_and_verify(catalogue: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = shop.parent / "more.jsonl"
    more.write_text('{"sku": "w", "title": "a warm shirt"}\n{"sku": "v", "title": "a watch"}\n')
    named = ["--id-column", "sku", "--text-column", "title"]
    for command, message, code in (
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
        output = capsys.readouterr()
        assert message in (output.err if code else output.out)
    assert not (shop.parent / "nowhere").exists()


def test_bad_products_are_listed_with_their_reasons(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = catalogue.parent / "bad.csv"
    bad.write_text("id,text,image\nn,,nowhere.png\nm,,\no,a red watch,\n")
    assert main(["add", str(catalogue), str(bad)]) == 1
    assert "product 'm': expected a text, an image or both" in capsys.readouterr().err
    assert main(["add", str(catalogue), str(bad), "--on-error", "skip"]) == 1
    output = capsys.readouterr()
    assert "4 products" in output.out
    assert "left out product 'm': " in output.err
    assert "left out product 'n': " in output.err and "nowhere.png" in output.err


def test_words_of_columns_find_codes(
    shop: Path, tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "codes.csv"
    table.write_text("id,Title,SKU\na,red shoe,DM-1942\nb,red shoe,DM-1943\nc,red shoe,DM-1944\n")
    folder = str(tmp_path / "codes")
    options = ["--artifact", str(tiny_artifact), "--text-column", "Title", "--words", "title", "--words", "sku"]
    assert main(["index", str(table), folder, *options]) == 0
    assert main(["verify", folder]) == 0
    capsys.readouterr()
    assert main(["recommend", "--catalogue", folder, "--text", "dm 1943", "-k", "1", "--explain"]) == 0
    out = capsys.readouterr().out
    assert out.split()[3] == "b" and "words" in out
