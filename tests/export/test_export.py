from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import onnx
import onnxruntime as ort
from clipshelf import Engine
from clipshelf.errors import ExportError
from clipshelf.model.artifact import Artifact
from clipshelf_export import export, pipeline
from clipshelf_export.checkpoints import clip
from clipshelf_export.graphs import transformer
from clipshelf_export.measure import fidelity, samples
from PIL import Image
from transformers import CLIPModel

MATRIX: dict[str, dict[str, Any]] = {
    "legacy end, quick_gelu": {"text_eos_token_id": 2},
    "modern end, gelu": {"vision_hidden_act": "gelu", "text_hidden_act": "gelu"},
    "one head, ragged patches": {"vision_num_attention_heads": 1, "vision_image_size": 44, "vision_patch_size": 12},
    "one layer, wide projection": {"vision_num_hidden_layers": 1, "text_num_hidden_layers": 1},
}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Calibration data of the user's own, small so that tests are quick."""
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "pictures").mkdir()
    for index, picture in enumerate(checkpoints.pictures(90)):
        Image.fromarray(picture).save(folder / "pictures" / f"{index:03}.png")
    (folder / "texts.txt").write_text("\n".join(checkpoints.SENTENCES), encoding="utf-8")
    return {"calibration_images": folder / "pictures", "calibration_texts": folder / "texts.txt", "threads": 1}


@pytest.fixture(scope="session")
def unruly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with outliers in both towers."""
    folder = tmp_path_factory.mktemp("unruly")
    model = checkpoints.write_checkpoint(folder, seed=1)
    checkpoints.inject_outliers(model)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def unruly_artifact(unruly: Path, inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(unruly, tmp_path_factory.mktemp("artifacts") / "unruly", min_overlap=0.95, **inputs)


def load(folder: Path) -> Any:
    return clip.load(folder, json.loads((folder / "config.json").read_text()), {"name": "test"})


@pytest.mark.parametrize("name", MATRIX)
def test_fp32_and_fp16_agree_with_torch(name: str, tmp_path: Path, inputs: dict[str, Any]) -> None:
    checkpoints.write_checkpoint(tmp_path / "checkpoint", dim=48, **MATRIX[name])
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp32", "fp16"), **inputs)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["fp32"]["difference"] <= 1e-5
        assert artifact.manifest.parity[tower]["fp16"]["centred_min"] >= 0.999
    assert artifact.manifest.precisions == ("fp32", "fp16")


def test_fp32_need_not_be_nearer_to_torch_than_torch_is_to_the_truth(
    tmp_path: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint", vision_num_hidden_layers=3)
    checkpoints.sharpen_attention(model, 8.0)
    model.save_pretrained(tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp32",), **inputs)
    assert 1e-5 < max(artifact.manifest.parity[tower]["fp32"]["difference"] for tower in ("vision", "text")) < 1e-3
    monkeypatch.setattr(pipeline, "TIMES", 0)
    with pytest.raises(ExportError, match="fp32: expected agreement with torch to 1e-05, found"):
        export(tmp_path / "checkpoint", tmp_path / "other", precisions=("fp32",), **inputs)


def test_texts_pool_at_their_end_in_ragged_batches(tmp_path: Path, inputs: dict[str, Any]) -> None:
    for name, changes in MATRIX.items():
        source, out = tmp_path / name / "checkpoint", tmp_path / name / "out"
        checkpoints.write_checkpoint(source, **changes)
        export(source, out, precisions=("fp32",), **inputs)
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
        return torch.nn.functional.normalize(rows, dim=-1).numpy()


def test_pictures_agree_with_the_processor_of_transformers(tmp_path: Path, inputs: dict[str, Any]) -> None:
    import torch
    from transformers import CLIPImageProcessor

    model = checkpoints.write_checkpoint(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp32",), **inputs)
    picture = Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize((90, 51))
    values = CLIPImageProcessor.from_pretrained(tmp_path / "checkpoint")(picture, return_tensors="pt")
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.get_image_features(**values), dim=-1).numpy()
    found = Engine.load(tmp_path / "out", threads=1).embed_images([picture])
    assert np.abs(found - expected).max() <= 1e-4


def test_int8_is_faithful_where_plain_dynamic_int8_is_not(
    unruly: Path, unruly_artifact: Artifact, inputs: dict[str, Any], tmp_path: Path
) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    export(unruly, tmp_path / "fp32", precisions=("fp32",), **inputs)
    checkpoint = load(unruly)
    pixels = list(checkpoints.pictures(60, seed=9))
    reference = checkpoint.reference.images(np.stack(pixels))
    plain, dynamic = tmp_path / "fp32/vision.onnx", tmp_path / "dynamic.onnx"
    quantization.quantize_dynamic(
        plain,
        dynamic,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    files = {"dynamic": dynamic, "ours": unruly_artifact.path / "vision.onnx"}
    found = {name: fidelity.compare(reference, embed(path, pixels)) for name, path in files.items()}
    assert found["dynamic"].centred_mean < 0.99
    assert found["ours"].centred_mean >= 0.995
    assert unruly_artifact.manifest.parity["text"]["int8"]["centred_mean"] >= 0.995


def embed(path: Path, pixels: list[Any]) -> Any:
    session = ort.InferenceSession(str(path))
    return np.concatenate([session.run(None, {"pixels": picture[None]})[0] for picture in pixels])


def test_int8_embeddings_do_not_depend_on_batch_mates_or_padding(unruly_artifact: Artifact) -> None:
    pixels = checkpoints.pictures(9, seed=4)
    vision = ort.InferenceSession(str(unruly_artifact.path / "vision.onnx"))
    together = vision.run(None, {"pixels": pixels})[0]
    for size in (1, 2, 5):
        assert np.array_equal(vision.run(None, {"pixels": pixels[:size]})[0], together[:size])
    text, spec = ort.InferenceSession(str(unruly_artifact.path / "text.onnx")), unruly_artifact.manifest.text
    rows = [np.array([spec.bos_id, *range(3, 3 + n), spec.eos_id]) for n in (1, 4, 9, 20)]
    ids, _ = samples.pad(rows, spec.pad_id)
    padded = text.run(None, {"input_ids": ids})[0]
    alone = np.concatenate([text.run(None, {"input_ids": row[None]})[0] for row in rows])
    assert np.array_equal(alone, padded)


def test_the_same_inputs_give_the_same_bytes(
    unruly: Path, unruly_artifact: Artifact, inputs: dict[str, Any], tmp_path: Path
) -> None:
    again = export(unruly, tmp_path / "again", min_overlap=0.95, **inputs)
    assert again.manifest.files == unruly_artifact.manifest.files
    assert again.manifest.fingerprint == unruly_artifact.manifest.fingerprint


def test_int8_graphs_hold_the_fused_nodes(unruly_artifact: Artifact) -> None:
    for tower, attention in (("vision", "MultiHeadAttention"), ("text", "QAttention")):
        kinds = [node.op_type for node in onnx.load(unruly_artifact.path / f"{tower}.onnx").graph.node]
        assert kinds.count("QAttention") + kinds.count("MultiHeadAttention") == kinds.count("QuickGelu") == 2
        assert attention in kinds
        assert "MatMulIntegerToFloat" in kinds
        assert "SkipLayerNormalization" not in kinds


def test_a_lost_fusion_is_an_error_that_names_it(
    unruly: Path, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(transformer.ACTIVATIONS, "silu", "BiasGelu")
    with pytest.raises(ExportError, match="expected 2 BiasGelu nodes, found 0"):
        export(unruly, tmp_path / "out", precisions=("fp32",), **inputs)


def test_weights_past_the_limit_of_a_protobuf_lie_beside_the_graph(
    unruly: Path, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipshelf_export.graphs.builder.EXTERNAL_ABOVE", 10_000)
    artifact = export(unruly, tmp_path / "out", precisions=("fp32",), **inputs)
    assert {"vision.onnx.data", "text.onnx.data"} <= artifact.manifest.files.keys()
    assert artifact.manifest.parity["vision"]["fp32"]["difference"] <= 1e-5
    assert (artifact.path / "vision.onnx").stat().st_size < 100_000


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
def test_a_broken_checkpoint_is_named(name: str, unruly: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    change, message = BROKEN[name]
    shutil.copytree(unruly, tmp_path / "checkpoint")
    change(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=message):
        export(tmp_path / "checkpoint", tmp_path / "out", **inputs)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_vocab_and_merges_are_enough(unruly: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(unruly, tmp_path / "checkpoint")
    drop("tokenizer.json")(tmp_path / "checkpoint")
    assert load(tmp_path / "checkpoint").text_spec == load(unruly).text_spec


def test_out_must_be_empty_or_an_artifact_to_overwrite(unruly: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear reader")
    with pytest.raises(ExportError, match="--overwrite"):
        export(unruly, out, precisions=("fp32",), **inputs)
    with pytest.raises(ExportError, match="found a folder without manifest"):
        export(unruly, out, precisions=("fp32",), overwrite=True, **inputs)
    (out / "letter.txt").unlink()
    export(unruly, out, precisions=("fp32",), **inputs)
    export(unruly, out, precisions=("fp32",), overwrite=True, **inputs)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("least", [{"sound": 0.9}, {"text": 1.5}, -0.1])
def test_an_overlap_that_cannot_be_is_refused(least: Any, unruly: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="min_overlap: expected numbers from 0 to 1 for vision or text, found"):
        export(unruly, tmp_path / "out", min_overlap=least, **inputs)


def test_a_full_disk_leaves_nothing(
    unruly: Path, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clipshelf_export.artifact_folder._flush", fail)
    with pytest.raises(ExportError, match="disk full"):
        export(unruly, tmp_path / "new" / "out", precisions=("fp32",), **inputs)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_onnxruntime_writes_is_named(
    unruly: Path, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, session = shutil.disk_usage(tmp_path), ort.InferenceSession

    def fail(path: str, options: Any, **others: Any) -> Any:
        if options.optimized_model_filepath:
            raise RuntimeError("Protobuf serialization failed.")
        return session(path, options, **others)

    monkeypatch.setattr(ort, "InferenceSession", fail)
    with pytest.raises(RuntimeError, match="Protobuf"):
        export(unruly, tmp_path / "out", precisions=("fp32",), **inputs)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(ExportError, match="disk full"):
        export(unruly, tmp_path / "out", precisions=("fp32",), **inputs)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ExportError, match="expected a hub id or a folder, found a file"):
        export(tmp_path / "model.onnx", tmp_path / "out")


def test_too_little_data_is_refused(unruly: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("one\ntwo\n")
    with pytest.raises(ExportError, match=r"--calibration-texts: expected at least 60 lines .* found 2"):
        export(unruly, tmp_path / "out", **(inputs | {"calibration_texts": few}))
    pictures = tmp_path / "pictures"
    shutil.copytree(inputs["calibration_images"], pictures)
    for copy in range(59, 90):
        shutil.copy(pictures / "000.png", pictures / f"{copy:03}.png")
    with pytest.raises(ExportError, match="--calibration-images: expected at least 60 different pictures, found 59"):
        export(unruly, tmp_path / "out", **(inputs | {"calibration_images": pictures}))


def test_the_highest_bar_is_reached_in_fp32(unruly: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    artifact = export(unruly, tmp_path / "out", min_overlap=1.0, **inputs)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["int8"]["difference"] <= 1e-5
        assert artifact.manifest.parity[tower]["int8"]["top10_overlap"] == 1


def test_weights_too_large_for_fp16_stay_fp32_in_int8_graphs(tmp_path: Path, inputs: dict[str, Any]) -> None:
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint", seed=3)
    for tower, projection in ((model.vision_model, model.visual_projection), (model.text_model, model.text_projection)):
        projection.weight.data *= 1e7
        tower.encoder.layers[0].mlp.fc1.bias.data[:2] += 1e4
    model.save_pretrained(tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", **inputs)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["int8"]["top10_overlap"] >= 0.97
    with pytest.raises(ExportError, match=r"vision fp16: expected a faithful graph, found .* \(fp32 and int8 may do"):
        export(tmp_path / "checkpoint", tmp_path / "fp16", precisions=("fp16",), **inputs)


def test_towers_narrower_than_the_outlier_columns(tmp_path: Path, inputs: dict[str, Any]) -> None:
    shape = {"hidden_size": 15, "intermediate_size": 21, "num_attention_heads": 5}
    changes = {f"{tower}_{name}": value for tower in ("vision", "text") for name, value in shape.items()}
    checkpoints.write_checkpoint(tmp_path / "checkpoint", **changes)
    parity = export(tmp_path / "checkpoint", tmp_path / "out", **inputs).manifest.parity
    assert all(parity[tower]["int8"]["top10_overlap"] >= 0.97 for tower in ("vision", "text"))


def test_embeddings_that_tell_nothing_apart_fail_with_the_numbers(tmp_path: Path, inputs: dict[str, Any]) -> None:
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint")
    model.text_projection.weight.data *= 0
    model.save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=r"text int8: expected .* found top-10 .* with the whole tower in fp32"):
        export(tmp_path / "checkpoint", tmp_path / "out", min_overlap={"vision": 0}, **inputs)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_local_folder_never_touches_the_network(
    unruly: Path, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    export(unruly, tmp_path / "out", precisions=("fp32",), **inputs)
