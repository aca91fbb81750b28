"""Ready ONNX towers as their own exporter meant them to run: the original, with which an artifact is compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.model.artifact import TextSpec
from clipshelf.types import FloatArray, Pixels, TokenIds
from PIL import Image
from tokenizers import Tokenizer

from clipshelf_export.checkpoints.image_rules import ImageRule
from clipshelf_export.checkpoints.onnx_graph import PREFIX
from clipshelf_export.checkpoints.pillow_transform import transform_pictures
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile
from clipshelf_export.checkpoints.towers import OnnxTower, PixelInput, TokenInput


class OnnxReference:
    """Two ready towers in onnxruntime, with inputs that NumPy prepares; a `ReferenceModel`.

    - `vision_path`, `text_path`: the graphs as they came.
    - `vision`, `text`: what they take and give.
    """

    def __init__(self, vision_path: Path, text_path: Path, vision: OnnxTower, text: OnnxTower) -> None:
        self._paths = {"vision": vision_path, "text": text_path}
        self._vision, self._text = vision, text
        self._sessions: dict[str, Any] = {}

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        source = self._vision.input
        if not isinstance(source, PixelInput) or source.mean is None or source.std is None:
            return self._run("vision", self._vision, [pixels])
        values = (pixels.astype(np.float32) / 255 - source.mean) / source.std
        return self.embed_pixel_values(values.astype(np.float32).transpose(0, 3, 1, 2))

    def embed_pixel_values(self, values: FloatArray) -> FloatArray:
        """Return unit-norm embeddings (B, D) of normalised pixels (B, 3, S, S)."""
        return self._run("vision", self._vision, [np.ascontiguousarray(values)])

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of right-padded `input_ids` (B, L) with `mask` (B, L)."""
        source = self._text.input
        if not isinstance(source, TokenInput):
            raise TypeError(f"expected a text tower, found {type(source).__name__}")
        if source.padding is not None:
            width = ((0, 0), (0, source.padding.length - input_ids.shape[1]))
            input_ids = np.where(mask == 1, input_ids, source.padding.pad_id)
            input_ids = np.pad(input_ids, width, constant_values=source.padding.pad_id)
            mask = np.pad(mask, width)
        values = {source.ids: input_ids, source.mask: mask, source.types: np.zeros_like(input_ids)}
        dtype = np.int32 if source.int32 else np.int64
        feeds = {name: value.astype(dtype) for name, value in values.items() if name is not None}
        return self._run("text", self._text, [feeds[PREFIX + name] for name in self._input_names("text")])

    @property
    def takes_uint8(self) -> bool:
        """Whether the vision graph normalises pixels itself."""
        return isinstance(self._vision.input, PixelInput) and self._vision.input.mean is None

    def in_double(self) -> None:
        """Return None: a graph computes in the precision of its weights."""
        return

    def _input_names(self, tower: str) -> list[str]:
        return [value.name for value in self._session(tower).get_inputs()]

    def _session(self, tower: str) -> Any:
        if tower not in self._sessions:
            import onnxruntime as ort

            options = ort.SessionOptions()
            options.log_severity_level = 3
            self._sessions[tower] = ort.InferenceSession(
                str(self._paths[tower]), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[tower]

    def _run(self, name: str, tower: OnnxTower, inputs: Sequence[Any]) -> FloatArray:
        """Run a tower on a batch, item by item where it takes no more."""
        names, output = self._input_names(name), tower.output.removeprefix(PREFIX)
        count = len(inputs[0])
        batches = [slice(i, i + 1) for i in range(count)] if tower.single else [slice(0, count)]
        rows = [
            self._session(name).run([output], dict(zip(names, [value[batch] for value in inputs], strict=True)))[0]
            for batch in batches
        ]
        features = np.concatenate(rows).astype(np.float64)
        unit: FloatArray = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
        return unit


class OnnxPipeline:
    """The way from pictures and texts to embeddings by Pillow and tokenizers; a `LibraryPipeline`.

    - `reference`: the towers.
    - `rule`: how pictures are prepared.
    - `tokenizer`: the file, and `spec` its limits.
    """

    def __init__(self, reference: OnnxReference, rule: ImageRule, tokenizer: TokenizerFile, spec: TextSpec) -> None:
        self._reference, self._rule, self._spec = reference, rule, spec
        self._tokenizer = Tokenizer.from_str(tokenizer.json)
        self._tokenizer.enable_truncation(spec.max_tokens)
        self._tokenizer.enable_padding(pad_id=spec.pad_id)

    def embed_images(self, pictures: Sequence[Image.Image]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pictures."""
        values = transform_pictures(pictures, self._rule)
        if self._reference.takes_uint8:
            pixels = np.rint((values.transpose(0, 2, 3, 1) * self._rule.std + self._rule.mean) * 255)
            return self._reference.embed_images(pixels.astype(np.uint8))
        return self._reference.embed_pixel_values(values)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of texts."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        return self._reference.embed_texts(ids, mask)
