"""Load any other model of transformers with two towers, by torch's own exporter to ONNX.

A model qualifies where transformers has a class for its model_type with `get_image_features` and `get_text_features`.
Each tower is traced to an ONNX graph, which then is a tower of its own kind (`OnnxTower`). A family with a loader is
faster, since its graphs are written for onnxruntime.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from clipshelf.errors import ExportError
from clipshelf.model.artifact import TextSpec
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from clipshelf_export.checkpoints.image_rules import ImageRule, read_image_rule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.onnx_graph import LEAST_OPSET, PREFIX, read_onnx
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile, check_ids, read_tokenizer
from clipshelf_export.checkpoints.towers import Checkpoint, OnnxTower, PixelInput, TokenInput
from clipshelf_export.checkpoints.weights import read_model, weight_hashes

METHODS = ("get_image_features", "get_text_features")
# Text towers whose positions begin after the id of the padding.
OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert"})
# Lengths of the two texts that are traced together, so that neither a length nor an empty mask becomes a constant.
TRACED_LENGTHS = (9, 6)


class _Tower(torch.nn.Module):
    """One of the methods of a model, as a module that gives the features (B, D)."""

    def __init__(self, model: Any, method: str, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.method, self.names = model, method, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the features (B, D) of the inputs, which are in the order of the names."""
        features = getattr(self.model, self.method)(**dict(zip(self.names, inputs, strict=True)))
        embeds: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
        return embeds


def find_class(model_type: str) -> Any:
    """Return the class of a model with two towers; None where transformers has none for `model_type`."""
    import transformers

    names = MODEL_MAPPING_NAMES.get(model_type, ())
    for name in (names,) if isinstance(names, str) else names:
        found = getattr(transformers, name, None)
        if found is not None and all(hasattr(found, method) for method in METHODS):
            return found
    return None


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load a checkpoint without the network; parameters and errors as in `clip.load`."""
    model_class = find_class(str(config.get("model_type")))
    tokenizer = read_tokenizer(folder)
    model = read_model(folder, model_class, attention="eager")
    settings = model.config
    rule = read_image_rule(folder, _image_size(settings, folder))
    reference = TorchReference(model, rule)
    vision = _vision_tower(model, rule)
    limit = _context(settings, tokenizer)
    text = _text_tower(model, settings, limit)
    spec = _text_spec(tokenizer, settings, limit, text, str(folder))
    return Checkpoint(
        family=str(config["model_type"]),
        source={**origin, "weights": weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=rule.spec,
        text_spec=spec,
        vision=vision,
        text=text,
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TransformersPipeline.of(folder, reference, limit),
    )


def _image_size(settings: Any, folder: Path) -> int:
    """Return the edge of pictures in pixels. Raises ExportError where the configuration names no square."""
    vision = getattr(settings, "vision_config", settings)
    size = getattr(vision, "image_size", getattr(settings, "image_size", None))
    if not isinstance(size, int):
        raise ExportError(f"{folder}: vision_config.image_size: expected one edge in pixels, found {size}")
    return size


def _context(settings: Any, tokenizer: TokenizerFile) -> int:
    """Return the longest text in tokens."""
    text = getattr(settings, "text_config", settings)
    positions = int(getattr(text, "max_position_embeddings", 0) or 0) or tokenizer.max_tokens
    if getattr(text, "model_type", "") in OFFSET_POSITIONS:
        positions -= int(text.pad_token_id) + 1
    return tokenizer.with_limit(positions)


def _text_spec(tokenizer: TokenizerFile, settings: Any, limit: int, tower: OnnxTower, source: str) -> TextSpec:
    bos, eos, pad = tokenizer.special_ids(source)
    text = getattr(settings, "text_config", settings)
    check_ids(tokenizer, int(text.vocab_size), (bos, eos, pad))
    takes_mask = isinstance(tower.input, TokenInput) and tower.input.mask is not None
    return TextSpec(limit, pad, bos, eos, attention_mask=takes_mask)


def _vision_tower(model: Any, rule: ImageRule) -> OnnxTower:
    pixels = torch.rand(2, 3, rule.spec.size, rule.spec.size, generator=torch.Generator().manual_seed(0))
    source = PixelInput(f"{PREFIX}pixel_values", rule.spec.size, rule.mean, rule.std)
    return _trace(model, METHODS[0], {"pixel_values": pixels}, {"pixel_values": {0: "batch"}}, source)


def _text_tower(model: Any, settings: Any, limit: int) -> OnnxTower:
    text = getattr(settings, "text_config", settings)
    longest, shorter = (min(length, limit) for length in TRACED_LENGTHS)
    ids = torch.randint(0, int(text.vocab_size), (2, longest), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, shorter:] = 0
    axes = {0: "batch", 1: "tokens"}
    source = TokenInput(f"{PREFIX}input_ids", f"{PREFIX}attention_mask", None, int32=False, padding=None)
    inputs = {"input_ids": ids, "attention_mask": mask}
    return _trace(model, METHODS[1], inputs, dict.fromkeys(inputs, axes), source)


def _trace(
    model: Any,
    method: str,
    inputs: Mapping[str, torch.Tensor],
    axes: Mapping[str, Mapping[int, str]],
    source: PixelInput | TokenInput,
) -> OnnxTower:
    """Trace a tower. Raises ExportError where torch's exporter cannot."""
    tower = _Tower(model, method, list(inputs)).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tower.onnx"
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dim = tower(*inputs.values()).shape[-1]
                torch.onnx.export(
                    tower,
                    tuple(inputs.values()),
                    path,
                    input_names=list(inputs),
                    output_names=["features"],
                    dynamic_axes={**axes, "features": {0: "batch"}},
                    opset_version=LEAST_OPSET,
                    dynamo=False,
                )
        except Exception as error:  # torch and the model raise errors of their own
            name = f"{type(model).__name__}.{method}"
            raise ExportError(
                f"{name}: expected a tower that torch exports to ONNX, found: {first_line(error)}"
            ) from error
        graph = read_onnx(path)
    used = {name for node in graph.nodes for name in node.input}
    if isinstance(source, TokenInput) and source.mask not in used:
        source = TokenInput(source.ids, None, None, int32=False, padding=None)
    return OnnxTower(graph.nodes, graph.constants, graph.opset, source, f"{PREFIX}features", int(dim), single=False)
