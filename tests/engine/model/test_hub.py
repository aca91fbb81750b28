"""Models on the hub, fetched from and pushed to a small one on loopback, each time by a fresh process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from clipshelf import Artifact, ArtifactError, Engine
from clipshelf.model.hub import HubReference
from support import tiny
from support.small_hub import SmallHub, serve_hub

pytest.importorskip("huggingface_hub", reason="needs clipshelf[hub]")

REPOSITORY = "shop/tiny-clip"
LOAD = """
import sys, clipshelf
engine = clipshelf.Engine.load(sys.argv[1], threads=1)
print(engine.fingerprint, engine.artifact.reference)
print(engine.embed_texts(["red"]).tolist())
"""
NO_CALLS = """
import socket
def refuse(*_, **__): raise AssertionError("a connection was tried")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""


@pytest.fixture
def hub() -> Iterator[SmallHub]:
    with serve_hub() as small:
        yield small


class Machine:
    """Runs Python in processes that share a cache and know one hub."""

    def __init__(self, hub: SmallHub, home: Path) -> None:
        self.hub, self.home = hub, home

    def run(self, code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home), "HF_TOKEN": "any"}
        settings |= {"HF_HUB_DISABLE_XET": "1", **variables}  # which the small hub does not speak
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )

    def load(self, source: str, code: str = LOAD, **variables: str) -> str:
        """What a process prints that opens a model; it fails where the process does."""
        done = self.run(code, source, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def failure(self, source: str, **variables: str) -> str:
        """The error of a process that cannot open a model."""
        done = self.run(LOAD, source, **variables)
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]


@pytest.fixture
def machine(hub: SmallHub, tmp_path: Path) -> Machine:
    return Machine(hub, tmp_path / "home")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def loaded_from(folder: Path, reference: str) -> str:
    """What LOAD prints for the same artifact in a folder."""
    engine = Engine.load(folder, threads=1)
    return f"{engine.fingerprint} {reference}\n{engine.embed_texts(['red']).tolist()}\n"


def test_a_model_is_fetched_by_commit_tag_and_branch(tiny_artifact: Path, machine: Machine) -> None:
    commit = machine.hub.add(REPOSITORY, files_of(tiny_artifact), "main", "v1")
    expected = loaded_from(tiny_artifact, f"{REPOSITORY}@{commit}")
    for revision in (commit, "v1", "main"):
        assert machine.load(f"{REPOSITORY}@{revision}") == expected
    downloads = [request for request in machine.hub.requests if re.match("GET .*/resolve/", request)]
    assert len(downloads) == len(set(downloads)) == len(files_of(tiny_artifact))


def test_what_is_in_the_cache_needs_no_network(tiny_artifact: Path, machine: Machine) -> None:
    commit = machine.hub.add(REPOSITORY, files_of(tiny_artifact), "main")
    machine.load(f"{REPOSITORY}@main")
    calls = len(machine.hub.requests)
    expected = loaded_from(tiny_artifact, f"{REPOSITORY}@{commit}")
    assert machine.load(f"{REPOSITORY}@{commit}", NO_CALLS + LOAD) == expected
    assert machine.load(f"{REPOSITORY}@main", NO_CALLS + LOAD, HF_HUB_OFFLINE="1") == expected
    assert len(machine.hub.requests) == calls
    machine.hub.add(REPOSITORY, files_of(tiny_artifact) | {"new": b""}, "main")
    assert "found: " in machine.failure(f"{REPOSITORY}@v2", HF_HUB_OFFLINE="1")


def test_a_pinned_model_does_not_follow_its_branch(tiny_artifact: Path, machine: Machine, tmp_path: Path) -> None:
    commit = machine.hub.add(REPOSITORY, files_of(tiny_artifact), "main")
    other = tiny.write_artifact(tmp_path / "other", seed=1)
    newer = machine.hub.add(REPOSITORY, files_of(other), "main")
    assert machine.load(f"{REPOSITORY}@{commit}") == loaded_from(tiny_artifact, f"{REPOSITORY}@{commit}")
    assert machine.load(f"{REPOSITORY}@main") == loaded_from(other, f"{REPOSITORY}@{newer}")


@pytest.mark.parametrize("name", ["vision.onnx", "text.onnx", "tokenizer.json"])
def test_a_file_that_differs_from_the_manifest_is_refused(tiny_artifact: Path, machine: Machine, name: str) -> None:
    files = files_of(tiny_artifact)
    content = bytearray(files[name])
    content[len(content) // 2] ^= 1
    machine.hub.add(REPOSITORY, files | {name: bytes(content)})
    message = machine.failure(f"{REPOSITORY}@main")
    assert (
        message.startswith(f"clipshelf.errors.ArtifactError: {REPOSITORY}@") and f"{name}: expected sha256" in message
    )


def test_what_is_not_there_is_named(tiny_artifact: Path, machine: Machine) -> None:
    files = files_of(tiny_artifact)
    machine.hub.add(REPOSITORY, {name: content for name, content in files.items() if name != "text.onnx"})
    machine.hub.add("shop/other", {"config.json": b"{}"})
    machine.hub.add("shop/hostile", {"manifest.json": files["manifest.json"].replace(b'"text.onnx"', b'"../x.onnx"')})
    for source, message in (
        ("shop/none@main", "expected a model of the hub with manifest.json, found: "),
        (f"{REPOSITORY}@v9", "expected a model of the hub with manifest.json, found: "),
        ("shop/other@main", "expected a model of the hub with manifest.json, found: "),
        (f"{REPOSITORY}@main", "expected a model of the hub with text.onnx, found: "),
        ("shop/hostile@main", "shop/hostile@main: manifest.json: "),
    ):
        assert message in machine.failure(source)
    assert not any("x.onnx" in request for request in machine.hub.requests)


def test_weights_beside_a_graph_are_fetched_and_read(tmp_path: Path, machine: Machine) -> None:
    folder = tiny.write_artifact(tmp_path / "large")
    graph = onnx.load(folder / "text.onnx")
    onnx.save_model(
        graph, folder / "text.onnx", save_as_external_data=True, location="text.onnx.data", size_threshold=100
    )
    assert (folder / "text.onnx.data").is_file()
    tiny.write_manifest(folder)
    commit = machine.hub.add(REPOSITORY, files_of(folder))
    assert machine.load(f"{REPOSITORY}@main") == loaded_from(folder, f"{REPOSITORY}@{commit}")


def test_an_artifact_is_pushed_with_a_card_and_opened_again(tiny_artifact: Path, machine: Machine) -> None:
    command = "import sys; from clipshelf.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = machine.run(command, "push", str(tiny_artifact), REPOSITORY)
    assert done.returncode == 0, done.stderr
    reference = HubReference.parse(done.stdout.splitlines()[0])
    assert reference is not None and machine.hub.refs[REPOSITORY, "main"] == reference.revision
    pushed = machine.hub.commits[REPOSITORY, reference.revision]
    assert files_of(tiny_artifact).items() <= pushed.items()
    assert b"license: unknown" in pushed["README.md"] and str(reference.repository).encode() in pushed["README.md"]
    assert machine.load(str(reference)) == loaded_from(tiny_artifact, str(reference))
    info = machine.run(command, "info", str(reference))
    assert info.returncode == 0 and info.stdout.startswith(f"{reference}: artifact, "), info.stderr
    machine.hub.add(REPOSITORY, pushed | {"README.md": b"my own"}, "main")
    assert machine.run(command, "push", str(tiny_artifact), REPOSITORY).returncode == 0
    assert machine.hub.commits[REPOSITORY, machine.hub.refs[REPOSITORY, "main"]]["README.md"] == b"my own"


def test_a_damaged_artifact_is_not_pushed(tmp_path: Path, machine: Machine) -> None:
    folder = tiny.write_artifact(tmp_path / "model")
    content = bytearray((folder / "text.onnx").read_bytes())
    content[20] ^= 1
    (folder / "text.onnx").write_bytes(content)
    command = "import sys; from clipshelf.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = machine.run(command, "push", str(folder), REPOSITORY)
    assert done.returncode == 1 and "text.onnx: expected sha256" in done.stderr and not machine.hub.requests
    done = machine.run(command, "push", str(folder), "no-organisation")
    assert done.returncode == 1 and "no-organisation: expected org/name, found otherwise" in done.stderr


def test_an_engine_of_the_hub_is_pickled_by_its_commit(tiny_artifact: Path, machine: Machine) -> None:
    commit = machine.hub.add(REPOSITORY, files_of(tiny_artifact))
    code = "import sys, pickle, clipshelf\nengine = clipshelf.Engine.load(sys.argv[1])\n"
    code += "sys.stdout.buffer.write(pickle.dumps(engine).hex().encode())"
    pickled = bytes.fromhex(machine.load(f"{REPOSITORY}@main", code))
    assert f"{REPOSITORY}@{commit}".encode() in pickled and str(machine.home).encode() not in pickled


def test_folders_go_before_names_of_the_hub(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_artifact(tmp_path / "shop" / "tiny@v1")
    assert HubReference.parse("shop/tiny@v1") is None
    assert Engine.load("shop/tiny@v1").artifact.reference is None
    assert HubReference.parse(tmp_path / "a@b") is None and HubReference.parse("./x/y@z") is None
    assert str(HubReference.parse("shop/tiny@refs/pr/1")) == "shop/tiny@refs/pr/1"
    with pytest.raises(ArtifactError, match="expected an artifact folder") as error:
        Engine.load("shop/none")
    assert error.value.__notes__ == ["a model on the hub is named with its revision: org/name@revision"]


def test_without_the_package_the_extra_is_named(tiny_artifact: Path, machine: Machine) -> None:
    blocked = "import sys; sys.modules['huggingface_hub'] = None\n"
    done = machine.run(blocked + LOAD, f"{REPOSITORY}@main")
    assert "models of the hub need huggingface_hub: pip install 'clipshelf[hub]'" in done.stderr
    assert machine.load(str(tiny_artifact), blocked + LOAD)
    assert machine.hub.requests == []


def test_the_card_names_the_licence_as_the_hub_does(tiny_artifact: Path) -> None:
    from dataclasses import replace

    from clipshelf.model.model_card import model_card

    record = {"count": 3, "centred_mean": 0.99912, "top10_overlap": 0.98}
    manifest = replace(Artifact.open(tiny_artifact).manifest, parity={"text": {"int8": record}}, licence="mit")
    card = model_card(manifest, REPOSITORY)
    assert "\nlicense: mit\n" in card and "| text | int8 | 0.99912 | 0.9800 | 3 |" in card
    odd = replace(manifest, licence="pictures mit, texts apache-2.0")
    assert '\nlicense: other\nlicense_name: "pictures mit, texts apache-2.0"\n' in model_card(odd, REPOSITORY)
