"""Models for other languages than English: MetaCLIP 2, Chinese CLIP and AltCLIP, against transformers."""

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
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

hugging: Any = transformers  # only half typed
TOWER = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
VISION = TOWER | {"image_size": 32, "patch_size": 8}
DIM, LENGTH = 32, 40
TEXTS = [
    "lamp",
    "A RED leather jacket, size 4!",
    "",
    "Crème brûlée",
    "ПРИВЕТ мир",
    "東京の靴。",
    "שלום",
    "नमस्ते",
    "สวัสดี",
]


def write_xlmr(folder: Path) -> Any:
    """Train XLM-R's kind of tokenizer, Unigram with <s> 0, <pad> 1, </s> 2, and write it as a fast tokenizer."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([*checkpoints.SENTENCES, *TEXTS] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return save(tokenizer, folder, **names)


def write_bert(folder: Path) -> Any:
    """Train BERT's kind of tokenizer, WordPiece, and write it as a fast tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*checkpoints.SENTENCES, *TEXTS] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    return save(tokenizer, folder, **names)


def save(tokenizer: Tokenizer, folder: Path, **names: str) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    fast = hugging.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **names)
    fast.save_pretrained(folder)
    return fast


def write(family: str, folder: Path) -> tuple[Any, Any]:
    """Write a random checkpoint of a family; return its model and its tokenizer."""
    tokenizer = write_bert(folder) if family == "chinese_clip" else write_xlmr(folder)
    text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH}
    if family == "metaclip_2":
        text |= {"eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
        config = hugging.MetaClip2Config(text_config=text, vision_config=VISION, projection_dim=DIM)
        model = hugging.MetaClip2Model(config)
    elif family == "chinese_clip":
        config = hugging.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=DIM)
        model = hugging.ChineseCLIPModel(config)
    else:
        text |= {"project_dim": 40, "max_position_embeddings": LENGTH + 2}
        config = hugging.AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=DIM)
        model = hugging.AltCLIPModel(config)
    checkpoints.initialise(model.eval(), 6)
    model.save_pretrained(folder)
    square = {"height": 32, "width": 32}
    size = square if family == "chinese_clip" else {"shortest_edge": 32}
    processor = hugging.ChineseCLIPImageProcessor if family == "chinese_clip" else hugging.CLIPImageProcessor
    processor(size=size, crop_size=square, do_center_crop=family != "chinese_clip").save_pretrained(folder)
    return model, tokenizer


def library_texts(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.inference_mode():
        if isinstance(model, hugging.ChineseCLIPModel):  # get_text_features of 4.57 fails
            features = model.text_projection(model.text_model(**batch).last_hidden_state[:, 0])
        else:
            features = checkpoints.embeds_of(model.get_text_features(**batch))
    return torch.nn.functional.normalize(features, dim=-1).numpy()


@pytest.mark.parametrize("family", ["metaclip_2", "chinese_clip", "altclip"])
def test_a_family_agrees_with_the_library(family: str, tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    folder = tmp_path / "checkpoint"
    model, tokenizer = write(family, folder)
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    assert manifest.family == family
    assert manifest.text.attention_mask == (family != "metaclip_2")
    for tower in ("vision", "text"):
        assert manifest.parity[tower]["fp32"]["difference"] <= 1e-5
        assert manifest.end_to_end[tower]["inputs"] <= 1e-5
    engine = Engine.load(tmp_path / "out", decode="exact", threads=1)
    texts = [text for text in TEXTS if len(tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(texts) > 7
    assert np.abs(engine.embed_texts(texts) - library_texts(model, tokenizer, texts)).max() <= 1e-5
    picture = Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize((90, 51))
    processor = hugging.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    with torch.inference_mode():
        features = checkpoints.embeds_of(model.get_image_features(**processor(picture, return_tensors="pt")))
    expected = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert np.abs(engine.embed_images([picture]) - expected).max() <= 1e-5


@pytest.mark.parametrize("family", ["metaclip_2", "chinese_clip", "altclip"])
def test_a_family_in_int8_is_faithful_in_ragged_batches(
    family: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    write(family, tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", min_overlap=0.95, **calibration_data)
    assert all(artifact.manifest.parity[tower]["int8"]["top10_overlap"] >= 0.95 for tower in ("vision", "text"))
    engine = Engine.load(tmp_path / "out", threads=1)
    together = engine.embed_texts(TEXTS)
    alone = np.concatenate([engine.embed_texts([text]) for text in TEXTS])
    assert np.abs(together - alone).max() <= 1e-6


def test_metaclip_2_with_a_tokenizer_without_a_first_token(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    folder = tmp_path / "checkpoint"
    model, tokenizer = write("metaclip_2", folder)
    backend = tokenizer.backend_tokenizer  # that of mT5, which some of these models have, ends a text only
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    tokenizer = save(backend, folder, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data)
    texts = [text for text in TEXTS if len(tokenizer(text)["input_ids"]) <= LENGTH]
    found = Engine.load(tmp_path / "out", threads=1).embed_texts(texts)
    assert np.abs(found - library_texts(model, tokenizer, texts)).max() <= 1e-5


def test_the_end_id_2_of_xlm_r_is_no_legacy_mark(tmp_path: Path) -> None:
    write("metaclip_2", tmp_path)
    text: Any = load_checkpoint(str(tmp_path)).text
    assert (text.pooling, text.eos_id) == ("eos", 2)
    config = hugging.MetaClip2Config.from_pretrained(tmp_path)
    config.text_config.eos_token_id = 3
    config.save_pretrained(tmp_path)
    with pytest.raises(ExportError, match="eos_token_id: expected the tokenizer's 2, found 3"):
        load_checkpoint(str(tmp_path))
