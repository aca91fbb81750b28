"""An artifact of a few kilobytes with predictable embeddings, so that the engine is tested for real.

A picture's embedding is its mean colour, a text's is the mean of its words' rows; both of unit norm.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from clipshelf.files import FileRecord
from clipshelf.model.artifact import MANIFEST, TOKENIZER, ImageSpec, Manifest, TextSpec
from clipshelf.types import FloatArray, Pixels, TokenIds
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

Constant: TypeAlias = Pixels | FloatArray | np.generic | TokenIds

SIZE, DIM = 8, 4
WORDS = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "red", "green", "blue", "shoe", "shirt", "watch", "warm"]
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def write_artifact(folder: Path, *, dim: int = DIM, seed: int = 0, logits: Mapping[str, float] | None = None) -> Path:
    """Write the tiny artifact to `folder`; with `logits`, a scale and a bias, it gives probabilities."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_vision(dim), folder / "vision.onnx")
    onnx.save(_text(dim, seed), folder / "text.onnx")
    _tokenizer().save(str(folder / TOKENIZER))
    write_manifest(folder, dim=dim, logits=logits)
    return folder


def write_manifest(folder: Path, *, dim: int = DIM, logits: Mapping[str, float] | None = None) -> None:
    """Write a manifest that vouches for the files of `folder` as they are."""
    manifest = Manifest(
        family="tiny",
        source={"name": "tests"},
        dim=dim,
        precision="fp32",
        opset=18,
        image=ImageSpec(size=SIZE, resize="shortest", resize_to=SIZE, resample="bicubic"),
        text=TextSpec(max_tokens=8, pad_id=0, bos_id=1, eos_id=2, attention_mask=False),
        files={p.name: FileRecord.of(p) for p in sorted(folder.iterdir()) if p.name != MANIFEST},
        logits=logits or {},
    )
    (folder / MANIFEST).write_text(manifest.to_json())


def picture(colour: str, width: int = 20, height: int = 12) -> Pixels:
    """A (height, width, 3) picture of one colour."""
    return np.full((height, width, 3), COLOURS[colour], np.uint8)


class Noted(io.BytesIO):
    """A PNG file that adds each thread that reads it to a set."""

    def __init__(self, colour: str, threads: set[threading.Thread]) -> None:
        super().__init__()
        Image.fromarray(picture(colour)).save(self, "PNG")
        self.seek(0)
        self._threads = threads

    def read(self, size: int | None = -1, /) -> bytes:
        self._threads.add(threading.current_thread())
        return super().read(size)


def _vision(dim: int) -> onnx.ModelProto:
    weights = np.eye(3, dim, dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["colour"], keepdims=0),
        helper.make_node("Add", ["colour", "one"], ["positive"]),
        helper.make_node("MatMul", ["positive", "weights"], ["y"]),
        helper.make_node("LpNormalization", ["y"], ["image_embeds"], axis=-1, p=2),
    ]
    constants: dict[str, Constant] = {"axes": np.array([1, 2]), "one": np.float32(1), "weights": weights}
    return _model(nodes, constants, ("pixels", TensorProto.UINT8, ["B", SIZE, SIZE, 3]), ("image_embeds", dim))


def _text(dim: int, seed: int) -> onnx.ModelProto:
    rows = np.random.default_rng(seed).standard_normal((len(WORDS), dim)).astype(np.float32)
    rows[1:3] = 0.01
    rows[4:7] = np.eye(3, dim)
    nodes = [
        helper.make_node("Gather", ["rows", "input_ids"], ["x"]),
        helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0),
        helper.make_node("LpNormalization", ["y"], ["text_embeds"], axis=-1, p=2),
    ]
    constants = {"rows": rows, "axes": np.array([1])}
    return _model(nodes, constants, ("input_ids", TensorProto.INT64, ["B", "L"]), ("text_embeds", dim))


def _model(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, Constant],
    source: tuple[str, int, list[str | int]],
    result: tuple[str, int],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*source)],
        [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, ["B", result[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 2)]
    )
    return tokenizer
