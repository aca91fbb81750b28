"""A catalogue that was moved finds its model and its pictures, or says what to give."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.cli.main import main
from clipshelf.errors import ArtifactError, CatalogueError
from PIL import Image
from support import forged, tiny


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """a/ with clip, pics, products.csv, and shelf, the catalogue of these."""
    folder = tmp_path / "a"
    tiny.write_artifact(folder / "clip")
    (folder / "pics").mkdir()
    Image.fromarray(tiny.picture("red")).save(folder / "pics/red.png")
    (folder / "products.csv").write_text(f"id,text,image\nx,red,pics/red.png\ny,blue,{folder / 'pics/red.png'}\n")
    assert main(["index", str(folder / "products.csv"), str(folder / "shelf"), "--artifact", str(folder / "clip")]) == 0
    return folder


def forget_relative_paths(shelf: Path) -> None:
    """Make a manifest as earlier releases wrote it."""
    fields = forged.read_fields(shelf)
    for name in ("relative_model", "relative_root", "declarations"):
        del fields[name]
    forged.seal(shelf, fields)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("copy", [False, True])
def test_a_tree_that_moves_finds_its_own(tree: Path, tmp_path: Path, old: bool, copy: bool) -> None:
    if old:
        forget_relative_paths(tree / "shelf")
    there = tmp_path / "b"
    if copy and not old:  # an older catalogue knows only where it was, and there all is still
        shutil.copytree(tree, there)
    else:
        tree.rename(there)
    catalogue = Catalogue.load(there / "shelf")
    assert catalogue.model == str(there / "clip") == catalogue.model_path() and catalogue.root == there
    assert [catalogue.picture(product) for product in catalogue.products] == [there / "pics/red.png"] * 2


def test_a_folder_that_moves_alone_finds_the_rest_where_it_was(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "srv/deep").mkdir(parents=True)
    (tree / "shelf").rename(tmp_path / "srv/deep/live")
    catalogue = Catalogue.load(tmp_path / "srv/deep/live")
    assert catalogue.model == str(tree / "clip") and catalogue.root == tree
    assert {catalogue.picture(product) for product in catalogue.products} == {tree / "pics/red.png"}
    assert main(["remove", str(tmp_path / "srv/deep/live"), "x"]) == 0
    assert Catalogue.load(tmp_path / "srv/deep/live").root == tree


def test_another_model_beside_it_is_not_taken(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b").mkdir()
    shutil.copytree(tree / "shelf", tmp_path / "b/shelf")
    tiny.write_artifact(tmp_path / "b/clip", seed=1)
    assert Catalogue.load(tmp_path / "b/shelf").model == str(tree / "clip")
    (tree / "clip").rename(tree / "elsewhere")
    catalogue = Catalogue.load(tmp_path / "b/shelf")
    with pytest.raises(CatalogueError, match="expected the model that embedded the catalogue, fingerprint"):
        catalogue.model_path()
    command = ["recommend", "--catalogue", str(tmp_path / "b/shelf"), "--text", "red"]
    assert main(command) == 1 and "--artifact" in capsys.readouterr().err
    assert main([*command, "--artifact", str(tree / "elsewhere")]) == 0


def test_the_root_can_be_given(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "pics").rename(tmp_path / "pics")
    monkeypatch.chdir(tmp_path)
    catalogue = Catalogue.load(tree / "shelf", root=".")
    assert catalogue.root == tmp_path and catalogue.picture(catalogue.products[0]) == tmp_path / "pics/red.png"


def test_paths_that_are_not_utf8_are_carried(tmp_path: Path, engine: Engine) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("a file system of Unicode names alone")
    (folder / "p.csv").write_text("id,text\nx,red\n")
    Catalogue.build(engine, folder / "p.csv").save(folder / "s")
    catalogue = Catalogue.load(folder / "s", verify=True)
    assert catalogue.root == folder and catalogue.ids == ["x"]
    catalogue.remove(["x"]).save(folder / "s")
    assert main(["info", str(folder / "s")]) == 0


def test_a_model_a_file_and_a_catalogue_are_told_apart(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, shelf, products = str(tree / "clip"), str(tree / "shelf"), str(tree / "products.csv")
    for command, said in (
        (
            ["recommend", "--catalogue", model, "--text", "x"],
            "expected the folder of a catalogue, found that of a model",
        ),
        (["verify", model], "expected the folder of a catalogue, found that of a model (an artifact)"),
        (["remove", model, "x"], "expected the folder of a catalogue, found that of a model (an artifact)"),
        (["index", products, model], "expected the folder of a catalogue, found that of a model (an artifact)"),
        (
            ["index", products, shelf, "--artifact", shelf],
            "expected that of an artifact (a model), found that of a cat",
        ),
        (["index", products, shelf, "--artifact", products], "expected an artifact folder"),
        (["index", products, products], "expected a folder, found a file"),
        (["index", products, f"{products}/new"], "expected a folder"),
        (["verify", products], "expected the folder of a catalogue, found a file"),
        (["remove", products, "x"], "expected the folder of a catalogue, found a file"),
        (["recommend", "--catalogue", f"{shelf}/manifest.json", "--text", "x"], "catalogue, found a file"),
        (["recommend", "--catalogue", str(tree), "--text", "x"], "expected a catalogue folder with a manifest.json"),
    ):
        assert main(command) == 1, command
        assert said in capsys.readouterr().err, command
    with pytest.raises(ArtifactError):
        Engine.load(shelf)


@pytest.mark.parametrize("name", ["lost+found", ".DS_Store", "@eaDir", "._x", "System Volume Information", "Thumbs.db"])
def test_a_fresh_volume_counts_as_empty(engine: Engine, tmp_path: Path, name: str) -> None:
    volume = tmp_path / "volume"
    (volume / name).mkdir(parents=True)
    Catalogue.build(engine, [{"id": "x", "text": "red"}]).save(volume)
    assert Catalogue.load(volume).ids == ["x"] and (volume / name).exists()


def test_the_manifest_names_paths_twice(tree: Path) -> None:
    fields = json.loads((tree / "shelf/manifest.json").read_text())
    assert (fields["model"], fields["relative_model"]) == (str(tree / "clip"), "../clip")
    assert (fields["root"], fields["relative_root"]) == (str(tree), "..")
