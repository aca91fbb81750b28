"""`clipshelf scale` on the command line, without Ray where it is not needed."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest
from clipshelf import Engine, index
from clipshelf.cli.main import main
from clipshelf.errors import ClipshelfError, InputError
from clipshelf.files import locked
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.ray_shards import RayShards
from support import tiny


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_artifact(tmp_path_factory.mktemp("artifact"))


@pytest.fixture
def sharded(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A sharded catalogue of 20 products, and the ordinary one beside it."""
    products = [{"id": f"p{row}", "text": ["red shoe", "blue watch"][row % 2], "price": row} for row in range(20)]
    index(Engine.load(artifact), products, tmp_path / "one")
    assert main(["scale", "split", str(tmp_path / "one"), str(tmp_path / "many"), "--shards", "3"]) == 0
    assert "20 products in 3 shards, 4 dimensions" in capsys.readouterr().out
    return tmp_path / "many"


def test_both_folders_give_the_same_answer(sharded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for folder in (sharded.parent / "one", sharded):
        assert main(["recommend", "--catalogue", str(folder), "--text", "red", "--json", "--explain"]) == 0
        answer = json.loads(capsys.readouterr().out)
        del answer["took_ms"]
        answers.append(answer)
    assert answers[0] == answers[1] and len(answers[0]["recommendations"]) == 10
    assert main(["recommend", "--catalogue", str(sharded), "--text", "red", "--html", str(sharded / "page.html")]) == 1
    output = capsys.readouterr()
    assert "--html: expected the folder of an ordinary catalogue" in output.err and not output.out


def test_products_are_added_changed_and_removed(
    sharded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more.csv"
    more.write_text("id,text,price\nn1,green shirt,7\np1,again,8\n")
    assert main(["scale", "add", str(sharded), str(more), "--on-error", "skip"]) == 1
    output = capsys.readouterr()
    assert "21 products in 3 shards" in output.out and "generation 2" in output.out
    assert "left out product 'p1'" in output.err
    more.write_text("id,price\nn1,700\n")
    assert main(["scale", "update", str(sharded), str(more)]) == 0
    assert main(["scale", "remove", str(sharded), "p3", "p4"]) == 0
    assert "19 products in 3 shards" in capsys.readouterr().out
    assert main(["recommend", "--catalogue", str(sharded), "--text", "shirt", "--where", "price=700", "--json"]) == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)["recommendations"]] == ["n1"]
    assert main(["scale", "remove", str(sharded), "nobody"]) == 1
    assert "found 'nobody'" in capsys.readouterr().err
    assert main(["scale", "remove", str(sharded), "-abc", "p5", "--on-error", "skip"]) == 1
    output = capsys.readouterr()
    assert "18 products in 3 shards" in output.out and "left out product '-abc'" in output.err


def test_without_ray_the_extra_is_named(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    source = tmp_path / "products.csv"
    source.write_text("id,text\np1,red\n")
    command = ["scale", "index", str(source), str(tmp_path / "many"), "--artifact", str(artifact)]
    assert main(command) == 1
    assert "pip install 'clipshelf[scale]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["remove", "p1"], ["add", "more.csv"], ["update", "more.csv"]])
def test_an_edit_waits_for_another_writer(
    sharded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(sharded.parent)
    Path("more.csv").write_text(f"id,text\n{'n1' if command[0] == 'add' else 'p1'},green\n")
    edit = ["scale", command[0], str(sharded), *command[1:]]
    with locked(sharded):
        assert main(edit) == 1
        assert "found one at work" in capsys.readouterr().err
        waiting = threading.Thread(target=main, args=([*edit, "--wait", "60"],))
        waiting.start()
        time.sleep(0.1)
        assert ShardedCatalogue(sharded).manifest.generation == 1
    waiting.join(60)
    assert ShardedCatalogue(sharded).manifest.generation == 2


def test_an_index_leaves_out_what_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scale", "index", "products.csv", "many", "--on-error", "raise"])
    assert "--on-error: invalid choice: 'raise' (choose from 'skip', 'keep-text')" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "found"), [("--patience=0", "0"), ("--patience=10", "10"), ("--patience=99", "99")])
def test_patience_is_above_0_and_below_the_deadline(
    sharded: Path, capsys: pytest.CaptureFixture[str], option: str, found: str
) -> None:
    assert main(["scale", "serve", str(sharded), option, "--deadline", "10"]) == 1
    expected = f"--patience: expected seconds above 0 and below the deadline of 10, found {found}"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_cluster_that_cannot_be_reached_is_named(
    sharded: Path, artifact: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'clipshelf[scale]'")
    command = ["scale", "serve", str(sharded), "--address", address, "--artifact", str(artifact)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert f"expected a cluster of Ray at {address}, found: " in error and "Traceback" not in error


def test_shards_need_a_connection_to_ray(sharded: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'clipshelf[scale]'")
    with pytest.raises(ClipshelfError, match="expected a connection to Ray"):
        RayShards(ShardedCatalogue(sharded))
    with pytest.raises(InputError, match="patience: expected seconds above 0, found 0"):
        RayShards(ShardedCatalogue(sharded), patience=0)
