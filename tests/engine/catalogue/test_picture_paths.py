from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.picture_paths import PictureFinder, stored_path
from clipshelf.errors import InputError
from PIL import Image
from support import tiny

NFC, NFD = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pics/shoes/Red.PNG", f"pics/{NFC}.png", "pics/two.png", "pics/Two.png", "plain.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny.picture("red")).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("plain.png", "plain.png"),
        (r"pics\shoes\Red.PNG", "pics/shoes/Red.PNG"),
        ("PICS/Shoes/red.png", "pics/shoes/Red.PNG"),
        (r".\Pics\SHOES\RED.png", "pics/shoes/Red.PNG"),
        (f"pics/{NFD}.png", f"pics/{NFC}.png"),
        (f"pics/{NFD.upper()}.PNG", f"pics/{NFC}.png"),
        (" plain.png ", "plain.png"),
        ("pics/../PLAIN.png", "pics/../plain.png"),
        ("pics/two.png", "pics/two.png"),
        ("pics/TWO.png", None),
        ("pics/nothing.png", None),
        ("nowhere/plain.png", None),
        ("a\0b", None),
        ("x" * 5000, None),
    ],
)
def test_other_spellings_of_a_path_are_found(folder: Path, path: str, found: str | None) -> None:
    assert PictureFinder(folder).find(path) == folder / (path if found is None else found)


def test_an_absolute_path_in_another_case_is_found(folder: Path) -> None:
    assert PictureFinder(Path("/")).find(f"{folder}/PLAIN.png") == folder / "plain.png"


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,AAAA", "https://example.com/a.jpg", "s3://b/a.jpg", "file:///a.jpg"]
)
def test_a_uri_is_no_path(folder: Path, uri: str) -> None:
    assert PictureFinder(folder).locate(uri) == uri


def test_a_table_of_windows_is_indexed_and_shown(engine: Engine, folder: Path) -> None:
    notes: list[str] = []
    (folder / "p.csv").write_text(f"id,image\na,pics\\Shoes\\red.png\nb,pics/{NFD}.PNG\nc,plain.png\n")
    catalogue = Catalogue.build(engine, folder / "p.csv", on_warning=notes.append)
    assert catalogue.present[:, 0].all() and catalogue.products[0]["image"] == "pics\\Shoes\\red.png"
    assert [catalogue.picture(product) for product in catalogue.products[:2]] == [
        folder / "pics/shoes/Red.PNG",
        folder / f"pics/{NFC}.png",
    ]
    assert len(notes) == 1 and "found none, and took" in notes[0] and "1 more like it" in notes[0]
    catalogue.save(folder / "s")
    assert Catalogue.load(folder / "s").picture(catalogue.products[0]) == folder / "pics/shoes/Red.PNG"


def test_pictures_of_another_folder_are_stored_relative_where_they_can_be(engine: Engine, folder: Path) -> None:
    catalogue = Catalogue.build(engine, [{"id": "x", "text": "red"}])
    catalogue = Catalogue(catalogue.contents, engine.fingerprint, folder)
    (folder / "pics/more.csv").write_text("id,image\na,two.png\n")
    assert catalogue.add(engine, folder / "pics/more.csv").products[1]["image"] == str(Path("pics/two.png"))
    assert stored_path("a.png", source_root=Path("/x"), root=Path("/y")) == str(Path("/x/a.png").absolute())


def test_a_path_that_no_text_can_hold_is_refused(engine: Engine, folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"product 'a': image: expected a path in Unicode text, found 'caf\\udce9\.png'"
    ):
        Catalogue.build(engine, [{"id": "a", "image": "caf\udce9.png"}])


def test_a_parquet_picture_of_a_path_starts_from_the_root(engine: Engine, folder: Path) -> None:
    products = [{"id": "a", "image": {"bytes": None, "path": "plain.png"}}]
    assert PictureFinder(folder).locate(products[0]["image"]) == folder / "plain.png"
