"""Two-tower models of transformers without a loader of their own, by torch's exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import torch
import transformers
from clipshelf import Engine
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from PIL import Image
from test_export_multilingual import DIM, LENGTH, TEXTS, TOWER, VISION, write_bert, write_xlmr

hugging: Any = transformers  # only half typed
FAMILIES = ("vision-text-dual-encoder", "xlm-r-dual-encoder", "clipseg", "groupvit", "blip")


def write(family: str, folder: Path) -> tuple[Any, Any]:
    """Write a random checkpoint of a family; return its model and its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    if family.endswith("dual-encoder"):
        model, tokenizer = dual_encoder(folder, xlmr=family.startswith("xlm"))
    elif family == "blip":
        tokenizer = write_bert(folder)
        text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "encoder_hidden_size": 48}
        config = hugging.BlipConfig(text_config=text, vision_config=VISION, projection_dim=DIM)
        model = hugging.BlipModel(config)
    else:
        tokenizer = checkpoints.write_tokenizer(folder)
        text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH}
        text |= {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
        if family == "clipseg":
            config = hugging.CLIPSegConfig(projection_dim=DIM, text_config=text, vision_config=VISION)
            model = hugging.CLIPSegModel(config)
        else:
            stages = {"depths": [1, 1, 1], "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 0]}
            vision = VISION | stages
            config = hugging.GroupViTConfig(
                projection_dim=DIM, projection_intermediate_dim=40, text_config=text, vision_config=vision
            )
            model = hugging.GroupViTModel(config)
    checkpoints.initialise(model.eval(), 4)
    model.save_pretrained(folder)
    square = {"height": 32, "width": 32}
    hugging.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square).save_pretrained(folder)
    return model, tokenizer


def dual_encoder(folder: Path, *, xlmr: bool) -> tuple[Any, Any]:
    tokenizer = write_xlmr(folder) if xlmr else write_bert(folder)
    text = TOWER | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    positions = LENGTH + 2 if xlmr else LENGTH
    kind = hugging.XLMRobertaConfig if xlmr else hugging.BertConfig
    config = hugging.VisionTextDualEncoderConfig.from_vision_text_configs(
        hugging.ViTConfig(**VISION), kind(**text, max_position_embeddings=positions), projection_dim=DIM
    )
    return hugging.VisionTextDualEncoderModel(config), tokenizer


def library_texts(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.inference_mode():
        return torch.nn.functional.normalize(checkpoints.embeds_of(model.get_text_features(**batch)), dim=-1).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_without_a_loader_agrees_with_the_library(
    family: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    folder = tmp_path / "checkpoint"
    model, tokenizer = write(family, folder)
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    for tower in ("vision", "text"):
        assert manifest.parity[tower]["fp32"]["difference"] <= 1e-5
        assert manifest.end_to_end[tower]["inputs"] <= 1e-5
    engine = Engine.load(tmp_path / "out", decode="exact", threads=1)
    texts = [text for text in TEXTS if len(tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(texts) > 5
    assert np.abs(engine.embed_texts(texts) - library_texts(model, tokenizer, texts)).max() <= 1e-5
    picture = Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize((90, 51))
    processor = hugging.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    with torch.inference_mode():
        features = checkpoints.embeds_of(model.get_image_features(**processor(picture, return_tensors="pt")))
    expected = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert np.abs(engine.embed_images([picture]) - expected).max() <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_its_linears_are_quantised_and_reach_the_target(
    family: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    write(family, tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", min_overlap=0.95, **calibration_data)
    for tower in ("vision", "text"):
        record = artifact.manifest.parity[tower]["int8"]
        assert record["top10_overlap"] >= 0.95 and "sites" in record["rungs"][0]
    engine = Engine.load(tmp_path / "out", threads=1)
    together = engine.embed_texts(TEXTS)
    alone = np.concatenate([engine.embed_texts([text]) for text in TEXTS])
    assert np.abs(together - alone).max() <= 1e-6


def test_fp16_and_towers_of_one_kind_are_refused(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    folder = tmp_path / "checkpoint"
    write("clipseg", folder)
    with pytest.raises(ExportError, match="fp16: expected a tower of a known family, found a ready graph"):
        export(folder, tmp_path / "out", precisions=("fp16",), **calibration_data)
    assert not (tmp_path / "out").exists()
    hugging.BertModel(hugging.BertConfig(**TOWER)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ExportError, match=r"expected a CLIP checkpoint or another known one .*, found bert"):
        load_checkpoint(str(tmp_path / "bert"))
