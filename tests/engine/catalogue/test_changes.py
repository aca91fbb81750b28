"""A live catalogue is never emptied by accident, and every change is counted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from clipshelf import Catalogue, Changes, Engine, index
from clipshelf.catalogue.indexing import change
from clipshelf.cli.main import main
from clipshelf.errors import CatalogueError, InputError
from clipshelf.failures import Failure
from clipshelf.types import Product
from PIL import Image
from support import tiny

SHRINK = r"expected at most 10% of the catalogue's \d+ {} to go, found that {} would be gone; it stays as it was"


def texts(count: int, text: str = "red") -> list[Product]:
    return [{"id": f"p{i}", "text": f"{text} {'shoe ' * (i % 3)}", "price": i} for i in range(count)]


@pytest.fixture
def live(tmp_path: Path, tiny_artifact: Path) -> Path:
    """The folder of a catalogue of ten products with pictures, in shop/, made of shop/p.csv and shop/pics."""
    shop = tmp_path / "shop"
    (shop / "pics").mkdir(parents=True)
    rows = ["id,text,image,price"]
    for i in range(10):
        Image.fromarray(tiny.picture(list(tiny.COLOURS)[i % 3])).save(shop / f"pics/{i}.png")
        rows.append(f"p{i},red shoe,pics/{i}.png,{i}")
    (shop / "p.csv").write_text("\n".join(rows))
    assert main(["index", str(shop / "p.csv"), str(shop / "live"), "--artifact", str(tiny_artifact)]) == 0
    return shop / "live"


def test_pictures_that_are_not_mounted_lose_nothing(
    live: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (live.parent / "pics").rename(live.parent / "not-mounted")
    command = ["index", str(live.parent / "p.csv"), str(live), "--artifact", str(tiny_artifact)]
    for policy, what in (("skip", "products"), ("keep-text", "pictures")):
        assert main([*command, "--on-error", policy]) == 1
        told = capsys.readouterr()
        assert f"10% of the catalogue's 10 {what} to go, found that 10 would be gone" in told.err
        assert "--allow-shrink" in told.err and len(Catalogue.load(live)) == 10
    assert main([*command, "--on-error", "keep-text", "--allow-shrink", "1"]) == 1
    told = capsys.readouterr()
    assert "0 added, 10 replaced, 0 removed, 0 unchanged; pictures: 10 lost" in told.out
    assert "left out the image of product 'p0'" in told.err
    (live.parent / "not-mounted").rename(live.parent / "pics")
    assert main(command) == 0
    assert "10 replaced, 0 removed, 0 unchanged; pictures: 10 gained" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["id,text,image\n", "", "id,text\np1,red\n"])
def test_an_export_that_came_out_empty_replaces_nothing(live: Path, tiny_artifact: Path, content: str) -> None:
    for name in ("empty.csv", "empty.jsonl"):
        path = live.parent / name
        path.write_text(content if name.endswith("csv") else "")
        assert main(["index", str(path), str(live), "--artifact", str(tiny_artifact)]) == 1
        assert len(Catalogue.load(live)) == 10


def test_the_share_is_counted_before_anything_is_embedded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(engine, texts(20), tmp_path / "s")
    monkeypatch.setattr(engine, "embed_texts", None)
    with pytest.raises(CatalogueError, match=SHRINK.format("products", 3)):
        index(engine, texts(17, "blue"), tmp_path / "s")
    monkeypatch.undo()
    assert len(index(engine, texts(18), tmp_path / "s")) == 18
    assert len(index(engine, texts(9), tmp_path / "s", allow_shrink=0.5)) == 9
    assert len(index(engine, [], tmp_path / "s", allow_shrink=1)) == 0


def test_a_save_over_another_catalogue_is_guarded_too(engine: Engine, tmp_path: Path) -> None:
    out, small = tmp_path / "s", Catalogue.build(engine, texts(3))
    Catalogue.build(engine, texts(20)).save(out)
    with pytest.raises(CatalogueError, match=SHRINK.format("products", 17)):
        small.save(out)
    small.save(out, allow_shrink=0.85)
    assert len(Catalogue.load(out)) == 3
    small.save(out)


def test_what_is_named_may_go(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "s"
    index(engine, texts(20), out)
    Catalogue.load(out).remove(f"p{i}" for i in range(19)).save(out)
    assert change(out, lambda catalogue: catalogue.remove(["p19"])).ids == []


def test_an_update_that_takes_most_pictures_away_is_stopped(live: Path, engine: Engine) -> None:
    blank: list[Product] = [{"id": f"p{i}", "image": None} for i in range(10)]
    with pytest.raises(CatalogueError, match=SHRINK.format("pictures", 10)):
        change(live, lambda catalogue: catalogue.update(engine, blank))
    changed = change(live, lambda catalogue: catalogue.update(engine, blank[:1]))
    assert changed.changes == Changes(replaced=1, unchanged=9, pictures_lost=1)
    two = Catalogue.load(live).update(engine, blank[1:2])
    two = two.update(engine, blank[2:3])
    with pytest.raises(CatalogueError, match=SHRINK.format("pictures", 2)):
        two.save(live)
    two.save(live, allow_shrink=0.3)
    two.update(engine, []).save(live)


def test_a_damaged_catalogue_can_be_replaced_only_if_asked(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "s"
    index(engine, texts(20), out)
    for name in ("ids.1.json", "embeddings.2.npy"):
        (out / name).write_bytes(b"")
        with pytest.raises(CatalogueError, match="--allow-shrink 1, or allow_shrink=1, replaces it"):
            index(engine, texts(20), out)
        with pytest.raises(CatalogueError, match="--allow-shrink 1, or allow_shrink=1, replaces it"):
            Catalogue.build(engine, texts(20)).save(out)
        assert len(index(engine, texts(20), out, allow_shrink=1)) == 20


def unchanged(catalogue: Catalogue) -> Catalogue:
    return catalogue


@pytest.mark.parametrize("share", [-0.1, 1.1, "0.1", True, None, float("nan")])
def test_a_share_is_a_number_from_0_to_1(engine: Engine, tmp_path: Path, share: Any) -> None:
    for write in (
        lambda: index(engine, texts(1), tmp_path / "s", allow_shrink=share),
        lambda: Catalogue.build(engine, texts(1)).save(tmp_path / "s", allow_shrink=share),
        lambda: change(tmp_path / "s", unchanged, allow_shrink=share),
    ):
        with pytest.raises(InputError, match="allow_shrink: expected a share from 0 to 1, found"):
            write()


@pytest.mark.parametrize(
    "option", [["--allow-shrink", "1.1"], ["--allow-shrink", "x"], ["--wait", "-1"], ["--wait", "nan"]]
)
def test_misuse_of_the_options_exits_with_2(option: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["index", "a", "b", *option])
    assert stop.value.code == 2


def test_each_command_says_what_changed(live: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = live.parent
    (shop / "new.csv").write_text("id,text,image\nn,blue,pics/1.png\nm,warm,\n")
    (shop / "prices.csv").write_text("id,price\np1,99\np2,2\n")
    model = ["--artifact", str(tiny_artifact)]
    for command, said in (
        (["add", str(live), str(shop / "new.csv"), *model], "2 added, 0 replaced, 0 removed, 10 unchanged"),
        (["update", str(live), str(shop / "prices.csv"), *model], "0 added, 1 replaced, 0 removed, 11 unchanged\n"),
        (
            ["remove", str(live), "n", "p3"],
            "0 added, 0 replaced, 2 removed, 10 unchanged; pictures: 2 lost; texts: 2 lost",
        ),
        (
            ["index", str(shop / "p.csv"), str(live), *model],
            "1 added, 1 replaced, 1 removed, 8 unchanged; pictures: 1 gained; texts: 1 gained, 1 lost",
        ),
    ):
        capsys.readouterr()
        assert main(command) == 0
        assert said in capsys.readouterr().out


def test_changes_see_pictures_in_memory(engine: Engine) -> None:
    def products(colour: str) -> list[Product]:
        file = io.BytesIO()
        Image.fromarray(tiny.picture(colour)).save(file, "PNG")
        return [{"id": "a", "image": io.BytesIO(file.getvalue())}, {"id": "b", "text": "red"}]

    red, again, blue = (Catalogue.build(engine, products(colour)) for colour in ("red", "red", "blue"))
    assert again.compared_with(red).changes == Changes(unchanged=2)
    assert blue.compared_with(red).changes == Changes(replaced=1, unchanged=1)
    assert red.changes is None and red.compared_with(None).changes == Changes(
        added=2, pictures_gained=1, texts_gained=1
    )


def test_what_is_discontinued_is_left_out_of_an_update_and_a_removal(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue, failures = Catalogue.build(engine, texts(3)), list[Failure]()
    updated = catalogue.update(engine, [{"id": "gone", "price": 1}, {"id": "p1", "price": 9}], on_error=failures.append)
    assert updated.products[1]["price"] == 9 and [(f.index, f.source) for f in failures] == [(0, "gone")]
    failures.clear()
    assert catalogue.remove(["p0", "gone", "p0"], on_error=failures.append).ids == ["p1", "p2"]
    assert [(f.index, f.source) for f in failures] == [(1, "gone")] and "3 products" in failures[0].reason
    failures.clear()
    more: list[Product] = [{"id": "p1", "text": "again"}, {"id": "new", "text": "red"}]
    assert catalogue.add(engine, more, on_error=failures.append).ids == ["p0", "p1", "p2", "new"]
    assert [(f.index, f.source) for f in failures] == [(0, "p1")]
    catalogue.save(tmp_path / "s")
    assert main(["remove", str(tmp_path / "s"), "p0", "gone"]) == 1 and len(Catalogue.load(tmp_path / "s")) == 3
    assert main(["remove", str(tmp_path / "s"), "p0", "gone", "--on-error", "skip"]) == 1
    assert "left out product 'gone'" in capsys.readouterr().err and Catalogue.load(tmp_path / "s").ids == ["p1", "p2"]
