"""Finding a checkpoint and the loader of its family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf_export import export


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
