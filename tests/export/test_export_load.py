"""Finding a checkpoint and the loader of its family."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf import Artifact
from clipshelf.errors import ExportError
from clipshelf_export import export
from support.small_hub import serve_hub


def test_a_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ExportError, match="expected a hub id or a folder, found a file"):
        export(tmp_path / "model.onnx", tmp_path / "out")


def test_a_local_folder_never_touches_the_network(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    export(outlier_checkpoint, tmp_path / "out", precisions=("fp32",), **calibration_data)


def test_a_checkpoint_of_the_hub_is_fetched_by_its_revision(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in outlier_checkpoint.iterdir()}
    files |= {"pytorch_model.bin": b"not needed", "README.md": b"---\nlicense: mit\n---\n"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in calibration_data.items()]
    command = [sys.executable, "-m", "clipshelf_export", "shop/clip@v1", str(tmp_path / "out"), "--precision", "fp32"]
    with serve_hub() as hub:
        commit = hub.add("shop/clip", files, "main", "v1")
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run([*command, *options], env=os.environ | settings, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        requests = hub.requests
    manifest = Artifact.open(tmp_path / "out").manifest
    assert (manifest.source["name"], manifest.source["revision"]) == ("shop/clip", commit)
    assert manifest.licence == "mit" and list(manifest.source["weights"]) == ["model.safetensors"]
    assert not any("pytorch_model.bin" in request for request in requests)
