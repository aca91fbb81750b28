"""SigLIP, and SigLIP 2 of a fixed resolution, against transformers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")
pytest.importorskip("sentencepiece", reason="export needs clipshelf[export]")

import checkpoints
import sentencepiece
import torch
import transformers
from clipshelf import Engine
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.checkpoints.sentencepiece_files import read_siglip_tokenizer
from PIL import Image
from support.scripts import texts_of_every_block
from tokenizers import Tokenizer as Trainable
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

hugging: Any = transformers  # only half typed
TOWER = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
LENGTH = 24
TEXTS = [
    "lamp",
    "A RED leather jacket, size 4!",
    "",
    "!?",
    "it's  two\tspaces_and marks (washable) #1",
    "Crème brûlée für zwei",
    "ПРИВЕТ мир",
    "東京の靴。\uff26\uff35\uff2c\uff2c \u2460",
    "שלום עולם",
    "नमस्ते",
    "สวัสดี",
    "🙂👟",
    "a\u2581b",
]


def write_model(folder: Path, vocabulary_size: int, *, seed: int = 0, act: str = "gelu_pytorch_tanh") -> Any:
    """Write a random SiglipModel and its image processor."""
    text = TOWER | {"vocab_size": vocabulary_size, "max_position_embeddings": LENGTH, "hidden_act": act}
    vision = TOWER | {"image_size": 32, "patch_size": 8, "hidden_act": act}
    model = hugging.SiglipModel(hugging.SiglipConfig(text_config=text, vision_config=vision)).eval()
    checkpoints.initialise(model, seed)
    model.save_pretrained(folder)
    processor = hugging.SiglipImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return model


def write_sentencepiece(folder: Path) -> Any:
    """Train SigLIP's kind of SentencePiece model, and write its tokenizer of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text.lower() for text in [*checkpoints.SENTENCES, *TEXTS] * 3 if text]),
        model_writer=model,
        vocab_size=260,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    tokenizer = hugging.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=LENGTH)
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_gemma(folder: Path, side: str) -> Any:
    """Train SigLIP 2's kind of tokenizer, BPE with byte fallback, and write it as a fast tokenizer of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trained = Trainable(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "\u2581")])
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    pieces = special + [f"<0x{byte:02X}>" for byte in range(256)]
    trained.train_from_iterator(
        checkpoints.SENTENCES, trainers.BpeTrainer(vocab_size=600, special_tokens=pieces, show_progress=False)
    )
    trained.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    fast = hugging.PreTrainedTokenizerFast(
        tokenizer_object=trained, padding_side=side, model_max_length=LENGTH, **names
    )
    fast.save_pretrained(folder)
    return fast


def short_texts(tokenizer: Any) -> list[str]:
    """The texts that fit the context: the library cuts longer ones off, the engine embeds them in parts."""
    texts = [text for text in TEXTS if len(tokenizer(text)["input_ids"]) <= LENGTH]
    assert len(texts) > 8
    return texts


def library_texts(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    batch = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        features = checkpoints.embeds_of(model.get_text_features(input_ids=batch["input_ids"]))
    return torch.nn.functional.normalize(features, dim=-1).numpy()


def test_siglip_agrees_with_the_library(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    folder = tmp_path / "checkpoint"
    tokenizer = write_sentencepiece(folder)
    model = write_model(folder, len(tokenizer))
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    for tower in ("vision", "text"):
        assert manifest.parity[tower]["fp32"]["difference"] <= 1e-5
        assert manifest.end_to_end[tower]["inputs"] <= 1e-5
    assert manifest.end_to_end["pairs"]["probability"] <= 1e-5
    assert (manifest.family, manifest.image.resize, manifest.dim) == ("siglip", "squash", 48)
    assert manifest.logits == pytest.approx({"scale": model.logit_scale.exp().item(), "bias": model.logit_bias.item()})
    engine = Engine.load(tmp_path / "out", decode="exact", threads=1)
    texts = short_texts(tokenizer)
    assert np.abs(engine.embed_texts(texts) - library_texts(model, tokenizer, texts)).max() <= 1e-5
    picture = Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize((90, 51))
    values = hugging.SiglipImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")
    with torch.inference_mode():
        features = checkpoints.embeds_of(model.get_image_features(**values))
    expected = torch.nn.functional.normalize(features, dim=-1).numpy()
    assert np.abs(engine.embed_images([picture]) - expected).max() <= 1e-5
    batch = tokenizer(texts, padding="max_length", max_length=LENGTH, return_tensors="pt")
    with torch.inference_mode():
        matches = model(input_ids=batch["input_ids"], **values).logits_per_text.sigmoid().numpy()
    found = engine.match_probabilities(engine.embed_texts(texts), engine.embed_images([picture]))
    assert matches.std() > 0.01 and np.abs(found - matches).max() <= 1e-5


def test_siglip_in_int8_and_fp16_is_faithful(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    folder = tmp_path / "checkpoint"
    model = write_model(folder, len(write_sentencepiece(folder)), seed=1)
    checkpoints.inject_outliers(model)
    model.save_pretrained(folder)
    artifact = export(folder, tmp_path / "out", precisions=("int8", "fp16"), min_overlap=0.95, **calibration_data)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["int8"]["top10_overlap"] >= 0.95
        assert artifact.manifest.parity[tower]["fp16"]["centred_min"] >= 0.999
    pixels = checkpoints.pictures(5, seed=4)
    engine = Engine.load(tmp_path / "out", threads=1)
    assert np.array_equal(engine.embed_images([*pixels])[3], engine.embed_images([pixels[3]])[0])
    assert np.array_equal(engine.embed_texts(TEXTS)[4], engine.embed_texts([TEXTS[4]])[0])


@pytest.mark.parametrize("side", ["right", "left"])
def test_siglip_2_pads_on_the_side_of_its_tokenizer(
    side: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    folder = tmp_path / "checkpoint"
    tokenizer = write_gemma(folder, side)
    model = write_model(folder, len(tokenizer), act="gelu")
    artifact = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert all(artifact.manifest.parity[tower]["fp32"]["difference"] <= 1e-5 for tower in ("vision", "text"))
    texts = short_texts(tokenizer)
    found = Engine.load(tmp_path / "out", threads=1).embed_texts(texts)
    assert np.abs(found - library_texts(model, tokenizer, texts)).max() <= 1e-5


def test_ids_are_those_of_the_sentencepiece_tokenizer(tmp_path: Path) -> None:
    tokenizer = write_sentencepiece(tmp_path)
    file = read_siglip_tokenizer(tmp_path)
    made = Trainable.from_str(file.json)
    assert file.eos_id == tokenizer.eos_token_id
    texts = [*TEXTS, *texts_of_every_block()]
    assert [text for text in texts if made.encode(text).ids != tokenizer(text)["input_ids"]] == []


@pytest.mark.parametrize(
    ("part", "setting", "message"),
    [
        ("vision", {"vision_use_head": False}, "vision_use_head: expected True, found False"),
        ("text", {"projection_size": 40}, "expected embeddings of one dimension, found 48 of pictures and 40 of texts"),
    ],
)
def test_towers_that_do_not_meet_are_refused(part: str, setting: dict[str, Any], message: str, tmp_path: Path) -> None:
    tokenizer = write_gemma(tmp_path, "right")
    text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH}
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    (vision if part == "vision" else text).update(setting)
    model = hugging.SiglipModel(hugging.SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(tmp_path)
    hugging.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with pytest.raises(ExportError, match=message):
        load_checkpoint(str(tmp_path))
