"""The loader of the bundled default model, on a checkpoint of a few kilobytes that torch's own modules computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import torch
import transformers
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints import bundled_default
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.graphs.build import write_graph
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure.sessions import open_session
from safetensors.torch import save_file
from torch import Tensor, nn

DIM, WIDTH, CLASSES, SIZE, TOKENS = 24, 8, 5, 16, 40
TEXT = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
CONVS = (
    {"index": 0, "stride": 2, "groups": 1, "pads": [1, 1, 1, 1], "activation": "relu6"},
    {"index": 1, "stride": 1, "groups": WIDTH, "pads": [1, 1, 1, 1], "activation": "relu6"},
    {"index": 2, "stride": 1, "groups": 1, "pads": [0, 0, 0, 0], "activation": "none"},
)
BETA, MEAN, STD = 0.5, 127.0, 128.0


class Vision(nn.Module):
    """One convolution, then a residual block of a depthwise and a pointwise one, then both ways of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, WIDTH, kernel, stride, padding, groups=groups)
            for inputs, kernel, stride, padding, groups in (
                (3, 3, 2, 1, 1),
                (WIDTH, 3, 1, 1, WIDTH),
                (WIDTH, 1, 1, 0, 1),
            )
        )
        self.classifier, self.fc1, self.fc2 = nn.Linear(WIDTH, CLASSES), nn.Linear(WIDTH, 12), nn.Linear(12, DIM)
        self.classes = nn.Parameter(torch.randn(CLASSES, DIM))

    def forward(self, pixels: Tensor) -> Tensor:
        """Unit rows of pixels (B, S, S, 3)."""
        x = nn.functional.relu6(self.convs[0]((pixels.permute(0, 3, 1, 2).float() - MEAN) / STD))
        x = x + self.convs[2](nn.functional.relu6(self.convs[1](x)))
        f = x.mean((2, 3))
        likely = torch.softmax(BETA * self.classifier(f), -1)
        return nn.functional.normalize(likely @ self.classes + self.fc2(nn.functional.gelu(self.fc1(f))), dim=-1)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("default")
    tokenizer = checkpoints.write_tokenizer(folder)
    torch.manual_seed(2)
    vision = Vision().eval()
    hugging: Any = transformers  # only half typed
    bert = hugging.BertModel(hugging.BertConfig(vocab_size=len(tokenizer), **TEXT), add_pooling_layer=False).eval()
    parts = {f"head.{name}": value for name, value in vision.state_dict().items() if "convs" not in name}
    parts |= {name.replace("convs.", "vision."): v for name, v in vision.state_dict().items() if "convs" in name}
    parts |= {f"text.{name}": value for name, value in bert.state_dict().items() if "ids" not in name}
    save_file({name: value.contiguous() for name, value in parts.items()}, folder / "model.safetensors")
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    config: dict[str, Any] = {
        "family": bundled_default.FAMILY,
        "embedding_dim": DIM,
        "image": {"size": SIZE, "resize": "squash", "resample": "bilinear", "mean": MEAN, "std": STD},
        "text": {**TEXT, "layer_norm_eps": 1e-12, "max_tokens": TOKENS, "pad_id": special["eos"]}
        | {f"{name}_id": value for name, value in special.items()},
        "head": {"beta": BETA},
        "vision": {"backbones": [{"blocks": [
            {"convs": CONVS[:1], "residual": False}, {"convs": CONVS[1:], "residual": True}
        ]}]},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    pixels, ids = checkpoints.pictures(4, SIZE), np.arange(20, 50).reshape(3, 10)
    mask = (np.arange(10) < np.array([[10], [4], [7]])).astype(np.int64)
    with torch.inference_mode():
        states = bert(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
        sums = (states * torch.from_numpy(mask)[..., None]).sum(1)
        texts = nn.functional.normalize(sums, dim=-1).numpy()
        images = vision(torch.from_numpy(pixels)).numpy()
    np.savez(
        folder / "reference.npz",
        pixels=pixels,
        image_embeds=images,
        input_ids=ids,
        attention_mask=mask,
        text_embeds=texts,
    )
    return folder


def test_a_checkpoint_is_read_as_torch_computes_it(source: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(str(source))
    assert (checkpoint.family, checkpoint.vision.dim, checkpoint.text.dim) == (bundled_default.FAMILY, DIM, DIM)
    assert checkpoint.text_spec.attention_mask and checkpoint.image_spec.resize == "squash"
    with np.load(source / "reference.npz") as saved:
        write_graph(checkpoint.vision, Plan(), tmp_path / "vision.onnx")
        images = open_session(tmp_path / "vision.onnx", 1).run(None, {"pixels": saved["pixels"]})[0]
        assert np.abs(images - saved["image_embeds"]).max() <= 1e-5
        write_graph(checkpoint.text, Plan(), tmp_path / "text.onnx")
        feeds = {name: saved[name] for name in ("input_ids", "attention_mask")}
        texts = open_session(tmp_path / "text.onnx", 1).run(None, feeds)[0]
        assert np.abs(texts - saved["text_embeds"]).max() <= 1e-5


def test_it_goes_through_the_pipeline(source: Path, tmp_path: Path) -> None:
    parity = export(source, tmp_path / "out", precisions=("int8", "fp32"), min_overlap=0.9, threads=1).manifest.parity
    for tower in ("vision", "text"):
        assert parity[tower]["fp32"]["difference"] <= 1e-5
        assert parity[tower]["int8"]["centred_mean"] >= 0.98


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "reference.npz"])
def test_a_missing_file_is_named(name: str, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(ExportError, match=f"found no {name}"):
        load_checkpoint(str(tmp_path / "copy"))


def test_outputs_unlike_the_original_are_refused(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "copy")
    with np.load(source / "reference.npz") as saved:
        changed = dict(saved) | {"text_embeds": saved["text_embeds"] + np.float32(1e-3)}
    np.savez(tmp_path / "copy/reference.npz", **changed)
    with pytest.raises(ExportError, match="text_embeds: expected agreement to 1e-5, found a difference of"):
        load_checkpoint(str(tmp_path / "copy"))
