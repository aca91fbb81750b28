"""Folders with two ready ONNX towers, in the layouts of immich-app and onnx-community."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import torch
import transformers
from clipshelf import Engine
from clipshelf.errors import ExportError
from clipshelf_export import export, import_onnx
from PIL import Image
from test_export_multilingual import TEXTS, TOWER, write, write_xlmr
from test_export_siglip import LENGTH, write_gemma, write_model
from test_export_siglip import library_texts as siglip_texts
from tokenizers import Tokenizer

hugging: Any = transformers  # only half typed
CONTEXT = 40
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


class Method(torch.nn.Module):
    """A method of a model as a module."""

    def __init__(self, call: Callable[..., Any], model: torch.nn.Module) -> None:
        super().__init__()
        self.call, self.model = call, model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.call(*inputs)
        return features


def write_graph(
    path: Path,
    model: torch.nn.Module,
    call: Callable[..., Any],
    inputs: Mapping[str, torch.Tensor],
    *,
    output: str,
    dynamic: bool,
    opset: int = 17,
) -> None:
    """Write a graph as torch's exporter does; with `dynamic` it takes any batch, and texts of any length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes: Any = {name: {0: "batch"} if value.ndim == 4 else {0: "batch", 1: "tokens"} for name, value in inputs.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Method(call, model).eval(),
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes | {output: {0: "batch"}} if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )


def pixels(count: int, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def write_immich(folder: Path, checkpoint: Path, *, opset: int = 17) -> Any:
    """Write a CLIP as immich's exporter does: one item at a time, int32 ids of the whole context; return the model."""
    model = hugging.CLIPModel.from_pretrained(checkpoint, attn_implementation="eager").eval()

    def unit(features: Any) -> torch.Tensor:
        return torch.nn.functional.normalize(checkpoints.embeds_of(features), dim=-1)

    visual, textual = folder / "visual", folder / "textual"
    write_graph(
        visual / "model.onnx",
        model,
        lambda image: unit(model.get_image_features(pixel_values=image)),
        {"image": pixels(1)},
        output="embedding",
        dynamic=False,
        opset=opset,
    )
    write_graph(
        textual / "model.onnx",
        model,
        lambda text: unit(model.get_text_features(input_ids=text)),
        {"text": torch.ones(1, CONTEXT, dtype=torch.int32)},
        output="embedding",
        dynamic=False,
        opset=opset,
    )
    tokenizer = hugging.AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(textual)
    preprocess = {"size": [32, 32], "mode": "RGB", "mean": MEAN, "std": STD, "interpolation": "bicubic"}
    write_json(visual / "preprocess_cfg.json", preprocess | {"resize_mode": "shortest", "fill_color": 0})
    write_json(folder / "config.json", {
        "embed_dim": 32, "vision_cfg": {"image_size": 32, "layers": 2}, "text_cfg": {"context_length": CONTEXT}
    })  # fmt: skip
    return model


def write_community(folder: Path, checkpoint: Path, model: Any, *, mask: bool) -> None:
    """Write the towers of a checkpoint as they are exported for transformers.js, of any batch and length."""
    for path in checkpoint.iterdir():
        if path.suffix in (".json", ".txt"):
            (folder / path.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.name).write_bytes(path.read_bytes())
    write_graph(
        folder / "onnx" / "vision_model.onnx",
        model,
        lambda values: checkpoints.embeds_of(model.get_image_features(pixel_values=values)),
        {"pixel_values": pixels(2)},
        output="image_embeds",
        dynamic=True,
        opset=18,
    )
    ids = torch.randint(4, 60, (2, 9), generator=torch.Generator().manual_seed(2))
    keep = torch.ones_like(ids)
    keep[1, 6:] = 0
    inputs = {"input_ids": ids, "attention_mask": keep} if mask else {"input_ids": ids}
    write_graph(
        folder / "onnx" / "text_model.onnx",
        model,
        lambda *values: checkpoints.embeds_of(model.get_text_features(**dict(zip(inputs, values, strict=True)))),
        inputs,
        output="text_embeds",
        dynamic=True,
        opset=18,
    )


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def is_exact(artifact: Any) -> bool:
    parity, end_to_end = artifact.manifest.parity, artifact.manifest.end_to_end
    return all(parity[name]["fp32"]["difference"] <= 1e-5 and end_to_end[name]["inputs"] <= 1e-5 for name in parity)


@pytest.mark.parametrize("opset", [14, 17])
def test_a_folder_of_immich_agrees_with_its_source(
    opset: int, outlier_checkpoint: Path, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    write_immich(tmp_path / "towers", outlier_checkpoint, opset=opset)
    artifact = import_onnx(tmp_path / "towers", tmp_path / "out", precisions=("fp32",), **calibration_data)
    normalizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).normalizer
    assert normalizer.normalize_str("men\u2019s \uff21") == "men's a"  # as open_clip reads it
    assert is_exact(artifact) and artifact.manifest.family == "immich"
    assert sorted(artifact.manifest.source["weights"]) == ["textual/model.onnx", "visual/model.onnx"]
    export(outlier_checkpoint, tmp_path / "own", precisions=("fp32",), **calibration_data)
    engines = [Engine.load(tmp_path / name, decode="exact", threads=1) for name in ("out", "own")]
    texts = ["red lamp", "", *checkpoints.SENTENCES[:5]]
    towers, own = (engine.embed_texts(texts) for engine in engines)
    assert np.abs(towers - own).max() <= 1e-5
    pictures = [Image.fromarray(picture) for picture in checkpoints.pictures(3, side=64)]
    towers, own = (engine.embed_images(pictures) for engine in engines)
    assert np.abs(towers - own).max() <= 1e-5


def test_towers_that_take_one_item_are_quantised(
    outlier_checkpoint: Path, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    write_immich(tmp_path / "towers", outlier_checkpoint)
    artifact = import_onnx(tmp_path / "towers", tmp_path / "out", min_overlap=0.95, **calibration_data)
    assert all(artifact.manifest.parity[tower]["int8"]["top10_overlap"] >= 0.95 for tower in ("vision", "text"))
    body = onnx.load(tmp_path / "out" / "vision.onnx").graph.node
    (scan,) = [node for node in body if node.op_type == "Scan"]
    assert sum(node.op_type in ("Linear", "LinearColumns") for node in scan.attribute[0].g.node) >= 4
    before = sum(path.stat().st_size for path in (tmp_path / "towers").rglob("*.onnx"))
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.onnx*")) < 0.6 * before
    engine = Engine.load(tmp_path / "out", threads=1)
    alone = np.concatenate([engine.embed_texts([text]) for text in checkpoints.SENTENCES[:6]])
    assert np.array_equal(engine.embed_texts(checkpoints.SENTENCES[:6]), alone)


@pytest.mark.parametrize("family", ["metaclip_2", "altclip"])
def test_a_folder_of_onnx_community_agrees_with_its_source(
    family: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    model, _ = write(family, tmp_path / "checkpoint")
    model.set_attn_implementation("eager")
    write_community(tmp_path / "towers", tmp_path / "checkpoint", model, mask=family == "altclip")
    artifact = import_onnx(tmp_path / "towers", tmp_path / "out", precisions=("fp32", "int8"), **calibration_data)
    assert is_exact(artifact) and artifact.manifest.text.attention_mask == (family == "altclip")
    export(tmp_path / "checkpoint", tmp_path / "own", precisions=("fp32",), **calibration_data)
    towers, own = (Engine.load(tmp_path / name, threads=1).embed_texts(TEXTS) for name in ("out", "own"))
    assert np.abs(towers - own).max() <= 1e-5


def test_a_siglip_of_onnx_community_is_padded_as_it_was_trained(
    tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    tokenizer = write_gemma(tmp_path / "checkpoint", "right")
    model = write_model(tmp_path / "checkpoint", len(tokenizer))
    write_community(tmp_path / "towers", tmp_path / "checkpoint", model, mask=False)
    artifact = import_onnx(tmp_path / "towers", tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert is_exact(artifact) and (artifact.manifest.family, artifact.manifest.text.max_tokens) == ("siglip", LENGTH)
    texts = ["a red lamp", "", "lamp"]
    found = Engine.load(tmp_path / "out", threads=1).embed_texts(texts)
    assert np.abs(found - siglip_texts(model, tokenizer, texts)).max() <= 1e-5


def test_an_m_clip_of_immich_pads_its_mask_too(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    folder = tmp_path / "towers"
    checkpoints.write_checkpoint(tmp_path / "clip")
    write_immich(folder, tmp_path / "clip")
    tokenizer = write_xlmr(folder / "textual")
    text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT + 2, "pad_token_id": 1}
    model = hugging.XLMRobertaModel(hugging.XLMRobertaConfig(**text), add_pooling_layer=False)
    model.set_attn_implementation("eager")
    head = torch.nn.Linear(48, 32)
    both = torch.nn.ModuleList([model, head])
    checkpoints.initialise(both.eval(), 5)

    def embed(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        keep = mask.unsqueeze(-1)
        features: torch.Tensor = head((states * keep).sum(1) / keep.sum(1))
        return features

    ids = torch.ones(1, CONTEXT, dtype=torch.int32)
    mask = (torch.arange(CONTEXT)[None] < 7).to(torch.int32)
    write_graph(
        folder / "textual" / "model.onnx",
        both,
        embed,
        {"input_ids": ids, "attention_mask": mask},
        output="embedding",
        dynamic=False,
    )
    artifact = import_onnx(folder, tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert is_exact(artifact) and artifact.manifest.text.attention_mask
    normalizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).normalizer
    assert "\u2019" in normalizer.normalize_str("men\u2019s")  # M-CLIP does not repair texts
    batch = tokenizer(TEXTS, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        features = embed(batch["input_ids"], batch["attention_mask"])
    expected = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert np.abs(Engine.load(tmp_path / "out", threads=1).embed_texts(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "visual/model.onnx").unlink(), "expected visual/model.onnx and textual/model.onnx"),
        (lambda folder: (folder / "visual/model.onnx").write_bytes(b"no graph"), "expected an ONNX graph, found"),
        (lambda folder: (folder / "textual/tokenizer.json").write_text("{}"), "tokenizer.json: expected a tokenizer"),
        (lambda folder: write_json(folder / "config.json", {"embed_dim": 3}), "expected vision_cfg and text_cfg"),
        (lambda folder: (folder / "visual/preprocess_cfg.json").unlink(), "preprocess_cfg.json: expected a JSON file"),
        (
            lambda folder: write_json(
                folder / "config.json", {"vision_cfg": {"image_size": 64}, "text_cfg": {"context_length": CONTEXT}}
            ),
            "expected a way to 64 x 64 pixels",
        ),
        (
            lambda folder: (folder / "visual/model.onnx").write_bytes((folder / "textual/model.onnx").read_bytes()),
            r"expected an input float32 \(B, 3, 32, 32\) or uint8 \(B, 32, 32, 3\), found text INT32 \(1, 40\)",
        ),
        (
            lambda folder: (folder / "textual/model.onnx").write_bytes((folder / "visual/model.onnx").read_bytes()),
            r"expected input_ids and perhaps an attention_mask, found image FLOAT \(1, 3, 32, 32\)",
        ),
    ],
)
def test_what_is_missing_or_of_another_kind_is_named(
    change: Callable[[Path], object], message: str, immich_folder: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "towers"
    shutil.copytree(immich_folder, folder)
    change(folder)
    with pytest.raises(ExportError, match=message):
        import_onnx(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def immich_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("immich")
    checkpoints.write_checkpoint(folder / "clip")
    write_immich(folder / "towers", folder / "clip")
    return folder / "towers"


def test_the_command_imports_without_torch(
    immich_folder: Path, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    (immich_folder / "README.md").write_text("---\nlicense: mit\n---\n")
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'safetensors', 'sentencepiece'): sys.modules[name] = None\n"
        "from clipshelf.cli.main import main\n"
        "from clipshelf_export import import_cli\n"
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "import_cli.add_arguments(parser)\n"
        "sys.exit(import_cli.run(parser.parse_args(sys.argv[1:])))\n"
    )
    options = [f"--{name.replace('_', '-')}={value}" for name, value in calibration_data.items()]
    command = [sys.executable, "-c", code, str(immich_folder), str(tmp_path / "out"), "--precision", "fp32", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "licence of the weights: mit" in done.stdout and "immich, 32 dimensions" in done.stdout


def test_export_tells_ready_towers_from_checkpoints(immich_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"two ready ONNX towers.*clipshelf import"):
        export(immich_folder, tmp_path / "out")
    with pytest.raises(ExportError, match="expected a folder with two ONNX towers, found none"):
        import_onnx(tmp_path / "nowhere", tmp_path / "out")


def test_a_tower_without_linears_is_stored_in_half_precision(
    immich_folder: Path, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    import shutil

    folder = tmp_path / "towers"
    shutil.copytree(immich_folder, folder)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 24, 4, stride=4), torch.nn.GELU(), torch.nn.Conv2d(24, 32, 8), torch.nn.Flatten(1)
    )
    checkpoints.initialise(network.eval(), 7)
    write_graph(
        folder / "visual" / "model.onnx", network, network, {"image": pixels(2)}, output="embedding", dynamic=True
    )
    artifact = import_onnx(folder, tmp_path / "out", min_overlap=0.95, **calibration_data)
    assert artifact.manifest.parity["vision"]["int8"]["rungs"][0].startswith("weights stored as fp16")
    before, after = folder / "visual" / "model.onnx", tmp_path / "out" / "vision.onnx"
    assert after.stat().st_size < 0.6 * before.stat().st_size
