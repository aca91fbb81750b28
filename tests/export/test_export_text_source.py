"""A text tower of its own, in the layout of sentence-transformers, beside the pictures of another checkpoint."""

from __future__ import annotations

import importlib
import json
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
from clipshelf.cli.main import main
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from safetensors.torch import save_file
from test_export_multilingual import LENGTH, TEXTS, write_bert, write_xlmr

hugging: Any = transformers  # only half typed
WIDTH, DIM, LIMIT = 48, 32, 30
BASES = ("distilbert", "bert", "xlm-roberta")
IDENTITY = "torch.nn.modules.linear.Identity"


def write_transformer(folder: Path, base: str) -> tuple[Any, Any]:
    """Write a random transformer and its tokenizer into a folder; return both."""
    tokenizer = write_xlmr(folder) if base == "xlm-roberta" else write_bert(folder)
    if base == "distilbert":
        config = hugging.DistilBertConfig(
            vocab_size=len(tokenizer), dim=WIDTH, hidden_dim=96, n_layers=2, n_heads=3, max_position_embeddings=LENGTH
        )
        model = hugging.DistilBertModel(config)
        change(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    else:
        kind = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}[base]
        config = getattr(hugging, f"{kind}Config")(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=LENGTH + 2,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = getattr(hugging, f"{kind}Model")(config)
    checkpoints.initialise(model.eval(), 8)
    model.save_pretrained(folder)
    return model, tokenizer


def write_text_source(folder: Path, base: str = "distilbert", *, pooling: str = "mean", old: bool = False) -> Any:
    """Write the layout of sentence-transformers 6, or of its first releases; return its forward in torch."""
    model, tokenizer = write_transformer(folder, base)
    dense = torch.nn.Linear(WIDTH, DIM, bias=old)
    checkpoints.initialise(dense, 9)
    (folder / "1_Pooling").mkdir()
    (folder / "2_Dense").mkdir()
    package = "sentence_transformers.models" if old else "sentence_transformers.base.modules.any"
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")]
    write_json(folder / "modules.json", [{"path": path, "type": f"{package}.{kind}"} for kind, path in modules])
    flags = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    settings = {"word_embedding_dimension": WIDTH, **flags} if old else {"pooling_mode": pooling}
    write_json(folder / "1_Pooling" / "config.json", settings | {"include_prompt": True})
    write_json(folder / "2_Dense" / "config.json", {"bias": old, "activation_function": IDENTITY})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LIMIT, "do_lower_case": False})
    state = {f"linear.{name}": value.detach() for name, value in dense.named_parameters()}
    if old:
        torch.save(state, folder / "2_Dense" / "pytorch_model.bin")
    else:
        save_file(state, folder / "2_Dense" / "model.safetensors")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")

    def embed(texts: list[str]) -> Any:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=LIMIT, return_tensors="pt")
        batch.pop("token_type_ids", None)
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
            keep = batch["attention_mask"][..., None]
            pooled = states[:, 0] if pooling == "cls" else (states * keep).sum(1) / keep.sum(1)
            return torch.nn.functional.normalize(dense(pooled), dim=-1).numpy()

    return embed


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def change(path: Path, **values: Any) -> None:
    write_json(path, json.loads(path.read_text()) | values)


@pytest.fixture(scope="module")
def pictures_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    checkpoints.write_checkpoint(folder, dim=DIM)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.mark.parametrize("layout", [*((base, "mean", False) for base in BASES), ("bert", "cls", True)])
def test_texts_are_those_of_the_text_source_and_pictures_those_of_the_source(
    layout: tuple[str, str, bool],
    pictures_checkpoint: Path,
    tmp_path: Path,
    calibration_data: dict[str, Any],
) -> None:
    base, pooling, old = layout
    embed = write_text_source(tmp_path / "texts", base, pooling=pooling, old=old)
    out = tmp_path / "out"
    artifact = export(
        pictures_checkpoint, out, text_source=tmp_path / "texts", precisions=("fp32",), **calibration_data
    )
    manifest = artifact.manifest
    assert manifest.family == f"clip+{base}" and manifest.text.max_tokens == LIMIT and manifest.text.attention_mask
    assert manifest.licence == "pictures mit, texts apache-2.0"
    assert len(manifest.source["text"]["weights"]) == 2
    for tower in ("vision", "text"):
        assert manifest.parity[tower]["fp32"]["difference"] <= 1e-5
        assert manifest.end_to_end[tower]["inputs"] <= 1e-5
    engine = Engine.load(out, threads=1)
    assert np.abs(engine.embed_texts(TEXTS) - embed(TEXTS)).max() <= 1e-5
    plain = export(pictures_checkpoint, tmp_path / "plain", precisions=("fp32",), **calibration_data)
    assert artifact.manifest.files["vision.onnx"] == plain.manifest.files["vision.onnx"]


def test_a_text_source_in_int8_is_faithful(
    pictures_checkpoint: Path, tmp_path: Path, calibration_data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    embed = write_text_source(tmp_path / "texts")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in calibration_data.items()]
    command = ["export", str(pictures_checkpoint), str(tmp_path / "out"), "--text-source", str(tmp_path / "texts")]
    assert main([*command, *options, "--min-overlap", "0.95"]) == 0
    assert "clip+distilbert" in capsys.readouterr().out
    engine = Engine.load(tmp_path / "out", threads=1)
    assert engine.artifact.manifest.parity["text"]["int8"]["top10_overlap"] >= 0.95
    assert (engine.embed_texts(TEXTS) * embed(TEXTS)).sum(1).mean() > 0.98
    alone = np.concatenate([engine.embed_texts([text]) for text in TEXTS])
    assert np.abs(engine.embed_texts(TEXTS) - alone).max() <= 1e-6


def test_the_folder_is_read_as_sentence_transformers_reads_it(
    pictures_checkpoint: Path, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    library: Any = pytest.importorskip("sentence_transformers")
    modules: Any = importlib.import_module("sentence_transformers.models")
    write_transformer(tmp_path / "base", "distilbert")
    dense = modules.Dense(WIDTH, DIM, bias=False, activation_function=torch.nn.Identity())
    checkpoints.initialise(dense, 9)
    transformer = modules.Transformer(str(tmp_path / "base"), max_seq_length=LIMIT)
    model = library.SentenceTransformer(modules=[transformer, modules.Pooling(WIDTH), dense], device="cpu")
    model.save(str(tmp_path / "texts"))
    export(
        pictures_checkpoint, tmp_path / "out", text_source=tmp_path / "texts", precisions=("fp32",), **calibration_data
    )
    expected = model.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(Engine.load(tmp_path / "out", threads=1).embed_texts(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}, "linear alone .*Tanh"),
        ("2_Dense/config.json", {"use_residual": True}, "linear alone .*use_residual"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pooling_mode: expected mean or cls, found max"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case: expected a tokenizer that lower-cases"),
        ("config.json", {"model_type": "mpnet"}, "model_type: expected one of distilbert, .*, found mpnet"),
        ("config.json", {"activation": "relu"}, "activation: expected one of .*, found relu"),
    ],
)
def test_what_an_artifact_cannot_do_is_refused(
    file: str, values: dict[str, Any], message: str, pictures_checkpoint: Path, tmp_path: Path
) -> None:
    write_text_source(tmp_path)
    change(tmp_path / file, **values)
    with pytest.raises(ExportError, match=message):
        load_checkpoint(str(pictures_checkpoint), str(tmp_path))


def test_other_layouts_are_told(pictures_checkpoint: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    write_text_source(texts)
    with pytest.raises(ExportError, match=r"found distilbert: .*--text-source puts one beside the pictures"):
        load_checkpoint(str(texts))
    checkpoints.write_checkpoint(tmp_path / "wide", dim=40)
    with pytest.raises(ExportError, match="expected embeddings of 40 dimensions like the pictures', found 32"):
        load_checkpoint(str(tmp_path / "wide"), str(texts))
    write_json(texts / "config_sentence_transformers.json", {"default_prompt_name": "query"})
    with pytest.raises(ExportError, match="expected texts without a prompt, found default_prompt_name query"):
        load_checkpoint(str(pictures_checkpoint), str(texts))
    write_json(
        texts / "modules.json", [{"path": "", "type": "x.Transformer"}, {"path": "1", "type": "x.WeightedLayers"}]
    )
    with pytest.raises(ExportError, match="expected Transformer, Pooling and Dense, found Transformer, WeightedLayers"):
        load_checkpoint(str(pictures_checkpoint), str(texts))
    with pytest.raises(ExportError, match=r"modules\.json: expected a JSON file, found none"):
        load_checkpoint(str(pictures_checkpoint), str(pictures_checkpoint))
