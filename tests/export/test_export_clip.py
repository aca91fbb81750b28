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

import checkpoints
import numpy as np
import torch
import transformers
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.checkpoints.towers import Transformer
from safetensors.torch import load_file, save_file


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


def change_file(name: str, **changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | changes), encoding="utf-8")
        for file in ("vocab.json", "merges.txt") if name == "tokenizer.json" else ():
            (folder / file).unlink(missing_ok=True)

    return apply


def add(name: str, text: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_text(text)

    return apply


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (drop("config.json"), "expected a checkpoint with config.json"),
    "another model": (break_config(model_type="bert"), "expected a CLIP checkpoint"),
    "activation": (break_config(hidden_act="relu"), "hidden_act: expected one of quick_gelu, gelu, .*, found 'relu'"),
    "no tokenizer": (drop("tokenizer.json", "vocab.json", "merges.txt"), "expected tokenizer.json"),
    "no processor": (drop("preprocessor_config.json"), "expected preprocessor_config.json"),
    "no layers": (break_config(num_hidden_layers=0), "text_config.num_hidden_layers: expected 1 or more, found 0"),
    "small resize": (change_file("preprocessor_config.json", size={"shortest_edge": 30}), "shortest_edge of at least"),
    "adapter": (add("adapter_config.json", "{}"), "expected a whole model, found an adapter"),
    "quantised": (change_file("config.json", quantization_config={"quant_method": "fp8"}), "quantization_config fp8"),
    "one tower": (change_file("config.json", architectures=["CLIPVisionModel"]), "two towers, found CLIPVisionModel"),
    "NaFlex": (change_file("config.json", model_type="siglip2"), "found siglip2: a SigLIP 2 with NaFlex"),
    "remote code": (change_file("config.json", model_type="x", auto_map={"AutoModel": "a.B"}), "code of its own"),
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


def test_a_tokenizer_that_adds_no_special_tokens_is_told(outlier_checkpoint: Path, tmp_path: Path) -> None:
    if transformers.__version__ >= "5":
        pytest.skip("transformers 5 makes the post-processor of CLIP's tokenizer itself")
    shutil.copytree(outlier_checkpoint, tmp_path / "checkpoint")
    change_file("tokenizer.json", post_processor=None)(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="expected a tokenizer that begins each text with its first token 594"):
        load_checkpoint(str(tmp_path / "checkpoint"))


def test_weights_in_fp8_are_told_as_what_they_are(outlier_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(outlier_checkpoint, tmp_path / "checkpoint")
    path = tmp_path / "checkpoint/model.safetensors"
    weights = {name: value.to(torch.float8_e4m3fn) for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ExportError, match="expected weights in fp32, fp16 or bf16, found F8_E4M3"):
        load_checkpoint(str(tmp_path / "checkpoint"))


@pytest.mark.parametrize("layout", ["fp16", "bf16", "shards", "bin"])
def test_weights_in_other_layouts_are_read(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    model = checkpoints.write_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    if layout == "shards":
        model.save_pretrained(folder, max_shard_size="50KB")
        assert len(list(folder.glob("*.safetensors"))) > 1
    elif layout == "bin":
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.to({"fp16": torch.float16, "bf16": torch.bfloat16}[layout]).save_pretrained(folder)
    checkpoint = load_checkpoint(str(folder))
    expected = model.visual_projection.weight.detach().float().numpy().T
    assert isinstance(checkpoint.vision, Transformer) and checkpoint.vision.projection is not None
    assert np.array_equal(checkpoint.vision.projection.weight, expected)


class Code:
    """What a pickle calls when it is read: `Path.touch` here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("layout", ["transformers", "open_clip"])
def test_weights_that_would_run_code_are_told_as_what_they_are(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    if layout == "transformers":
        checkpoints.write_checkpoint(folder)
        (folder / "model.safetensors").unlink()
        path = folder / "pytorch_model.bin"
    else:
        from test_export_open_clip import write_clip

        write_clip(folder, quick=False, custom=False)
        (folder / "open_clip_model.safetensors").unlink()
        path = folder / "open_clip_pytorch_model.bin"
    torch.save({"weight": Code(tmp_path / "ran")}, path)
    with pytest.raises(ExportError, match=r"found: a file that runs code when it is read \([\w.]+\)"):
        load_checkpoint(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_saved_by_transformers_5_is_read(outlier_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(outlier_checkpoint, tmp_path / "checkpoint")
    change_file("tokenizer_config.json", tokenizer_class="TokenizersBackend")(tmp_path / "checkpoint")
    assert load_checkpoint(str(tmp_path / "checkpoint")).text_spec == load_checkpoint(str(outlier_checkpoint)).text_spec


def test_the_layout_of_sentence_transformers_and_the_licence_of_the_card(
    outlier_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(outlier_checkpoint, tmp_path / "model/0_CLIPModel")
    (tmp_path / "model/modules.json").write_text("[]")
    (tmp_path / "model/README.md").write_text("---\nlanguage: en\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    checkpoint = load_checkpoint(str(tmp_path / "model"))
    assert (checkpoint.family, checkpoint.licence, checkpoint.source["name"]) == ("clip", "cc-by-nc-4.0", "model")
