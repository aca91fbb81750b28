"""The graphs of CLIP against torch and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import onnxruntime as ort
from clipshelf import Engine
from clipshelf.model.artifact import Artifact
from clipshelf_export import export
from clipshelf_export.measure import samples
from PIL import Image
from transformers import CLIPModel

MATRIX: dict[str, dict[str, Any]] = {
    "legacy end, quick_gelu": {"text_eos_token_id": 2},
    "modern end, gelu": {"vision_hidden_act": "gelu", "text_hidden_act": "gelu"},
    "one head, ragged patches": {"vision_num_attention_heads": 1, "vision_image_size": 44, "vision_patch_size": 12},
    "one layer, wide projection": {"vision_num_hidden_layers": 1, "text_num_hidden_layers": 1},
}


@pytest.mark.parametrize("name", MATRIX)
def test_fp32_and_fp16_agree_with_torch(name: str, tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    checkpoints.write_checkpoint(tmp_path / "checkpoint", dim=48, **MATRIX[name])
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp32", "fp16"), **calibration_data)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["fp32"]["difference"] <= 1e-5
        assert artifact.manifest.parity[tower]["fp16"]["centred_min"] >= 0.999
    assert artifact.manifest.precisions == ("fp32", "fp16")


def test_texts_pool_at_their_end_in_ragged_batches(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    for name, changes in MATRIX.items():
        source, out = tmp_path / name / "checkpoint", tmp_path / name / "out"
        checkpoints.write_checkpoint(source, **changes)
        export(source, out, precisions=("fp32",), **calibration_data)
        tokenizer = CLIPModelAndTokenizer(source)
        texts = ["lamp", "a red leather jacket, size 4", "", "mug " * 20]
        assert np.abs(Engine.load(out, threads=1).embed_texts(texts) - tokenizer.embed(texts)).max() <= 1e-5


class CLIPModelAndTokenizer:
    """transformers on its own: tokenizer, padding and all."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPTokenizerFast

        self.model = CLIPModel.from_pretrained(folder).eval()
        self.tokenizer = CLIPTokenizerFast.from_pretrained(folder)

    def embed(self, texts: list[str]) -> Any:
        import torch

        batch = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            rows = self.model.get_text_features(**batch)
        return torch.nn.functional.normalize(checkpoints.embeds_of(rows), dim=-1).numpy()


def test_pictures_agree_with_the_processor_of_transformers(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    import torch
    from transformers import CLIPImageProcessor

    model = checkpoints.write_checkpoint(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp32",), **calibration_data)
    picture = Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize((90, 51))
    values = CLIPImageProcessor.from_pretrained(tmp_path / "checkpoint")(picture, return_tensors="pt")
    with torch.inference_mode():
        features = model.get_image_features(**values)
    expected = torch.nn.functional.normalize(checkpoints.embeds_of(features), dim=-1).numpy()
    found = Engine.load(tmp_path / "out", threads=1).embed_images([picture])
    assert np.abs(found - expected).max() <= 1e-4


def test_int8_embeddings_do_not_depend_on_batch_mates_or_padding(outlier_artifact: Artifact) -> None:
    pixels = checkpoints.pictures(9, seed=4)
    vision = ort.InferenceSession(str(outlier_artifact.path / "vision.onnx"))
    together = vision.run(None, {"pixels": pixels})[0]
    for size in (1, 2, 5):
        assert np.array_equal(vision.run(None, {"pixels": pixels[:size]})[0], together[:size])
    text, spec = ort.InferenceSession(str(outlier_artifact.path / "text.onnx")), outlier_artifact.manifest.text
    rows = [np.array([spec.bos_id, *range(3, 3 + n), spec.eos_id]) for n in (1, 4, 9, 20)]
    ids, _ = samples.pad(rows, spec.pad_id)
    padded = text.run(None, {"input_ids": ids})[0]
    alone = np.concatenate([text.run(None, {"input_ids": row[None]})[0] for row in rows])
    assert np.array_equal(alone, padded)
