"""Loading CLIP checkpoints, whole and broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint


def break_config(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for name, value in changes.items():
            (config if name in config else config["text_config"])[name] = value
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def drop(*names: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return apply


def cut(name: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:1000])

    return apply


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (drop("config.json"), "expected a checkpoint with config.json"),
    "another model": (break_config(model_type="bert"), "expected a CLIP checkpoint"),
    "activation": (break_config(hidden_act="relu"), "hidden_act: expected one of quick_gelu, gelu, found 'relu'"),
    "no tokenizer": (drop("tokenizer.json", "vocab.json", "merges.txt"), "expected tokenizer.json"),
    "no processor": (drop("preprocessor_config.json"), "expected preprocessor_config.json"),
    "no layers": (break_config(num_hidden_layers=0), "text_config.num_hidden_layers: expected 1 or more, found 0"),
    "few tokens": (break_config(vocab_size=90), "vocab_size: expected more than the tokenizer's largest id"),
    "no end": (break_config(eos_token_id=None), "eos_token_id: expected the tokenizer's .* found None"),
    "no object": (break_config(vision_config="x"), "expected a CLIP configuration, found"),
    "other shape": (break_config(projection_dim=31), "found 2 of another shape than in config.json: text_projection"),
    "cut weights": (cut("model.safetensors"), "expected the weights of a CLIPModel, found: Error while deserializing"),
    "no weights": (drop("model.safetensors"), "expected the weights of a CLIPModel"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_named(
    name: str, outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    change, message = BROKEN[name]
    shutil.copytree(outlier_checkpoint, tmp_path / "checkpoint")
    change(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=message):
        export(tmp_path / "checkpoint", tmp_path / "out", **calibration_data)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_vocab_and_merges_are_enough(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(outlier_checkpoint, tmp_path / "checkpoint")
    drop("tokenizer.json")(tmp_path / "checkpoint")
    assert load_checkpoint(str(tmp_path / "checkpoint")).text_spec == load_checkpoint(str(outlier_checkpoint)).text_spec
