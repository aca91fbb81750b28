"""The text towers that open_clip takes from transformers: XLM-R, RoBERTa and BERT, pooled by the mean.

https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/hf_model.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers
from clipshelf.errors import ExportError
from torch import Tensor, nn

from clipshelf_export.checkpoints.bert_text import bert_tower
from clipshelf_export.checkpoints.open_clip_files import load_state
from clipshelf_export.checkpoints.torch_modules import check_tower_config, linear
from clipshelf_export.checkpoints.towers import Transformer

PREFIX = "text.transformer."
# The beginning of hf_model_name, the class in transformers, the epsilon of its norms and the id of its padding. The
# heads of these models are 64 wide.
MODELS = (
    ("xlm-roberta", "XLMRoberta", 1e-5, 1),
    ("FacebookAI/xlm-roberta", "XLMRoberta", 1e-5, 1),
    ("roberta", "Roberta", 1e-5, 1),
    ("FacebookAI/roberta", "Roberta", 1e-5, 1),
    ("bert", "Bert", 1e-12, 0),
    ("google-bert/bert", "Bert", 1e-12, 0),
)
HEAD_WIDTH = 64


class HfTowers(nn.Module):
    """CLIP's vision tower and a text tower of transformers, as one model in torch.

    - `vision`: a `CLIPVisionModelWithProjection`.
    - `transformer`: the text tower without its pooler.
    - `projection`: what follows the mean over its tokens.
    - `pad_id`: of its padding, from which RoBERTa counts positions.
    """

    def __init__(self, vision: Any, transformer: Any, projection: nn.Sequential, pad_id: int) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = vision.vision_model, vision.visual_projection
        self.transformer, self.projection, self.pad_id = transformer, projection, pad_id
        self.config = SimpleNamespace(vision_config=vision.config, projection_dim=vision.config.projection_dim)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Return features (B, D) of normalised pixels (B, 3, S, S)."""
        features: Tensor = self.visual_projection(self.vision_model(pixel_values=pixel_values).pooler_output)
        return features

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return features (B, D) of `input_ids` (B, L) with `attention_mask` (B, L)."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        keep = attention_mask.unsqueeze(-1)
        features: Tensor = self.projection((states * keep).sum(1) / keep.sum(1))
        return features

    @property
    def first_position(self) -> int:
        """The row of the first token's position: RoBERTa counts from the padding on, BERT from 0."""
        return self.pad_id + 1 if "Roberta" in type(self.transformer).__name__ else 0


def load_towers(folder: Path, settings: Mapping[str, Any], state: Mapping[str, Tensor], vision: Any) -> HfTowers:
    """Load the text tower, and put it beside the vision tower.

    - `settings`: model_cfg of open_clip_config.json.
    - `state`: the weights by their names in open_clip.
    - `vision`: a loaded `CLIPVisionModelWithProjection`.

    Raises ExportError for a tower that is not known, or whose weights are incomplete.
    """
    text = settings["text_cfg"]
    name, pooler = text["hf_model_name"], text.get("hf_pooler_type") or "mean_pooler"
    found = [model for model in MODELS if str(name).startswith(model[0])]
    if not found or pooler != "mean_pooler":
        raise ExportError(
            f"{folder}: text_cfg.hf_model_name: expected an XLM-R, a RoBERTa or a BERT with the mean_pooler, "
            f"found {name} with the {pooler}"
        )
    _, kind, epsilon, pad_id = found[0]
    weights = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    weights = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    transformer = load_state(folder, _make_transformer(kind, weights, epsilon, pad_id), weights)
    return HfTowers(vision, transformer, _projection(folder, state), pad_id).eval()


def _make_transformer(kind: str, weights: Mapping[str, Tensor], epsilon: float, pad_id: int) -> Any:
    """Return a text tower without weights, of the shapes that `weights` have."""
    untyped: Any = transformers  # only half typed
    rows = {name: weights[f"embeddings.{name}_embeddings.weight"].shape for name in ("word", "position", "token_type")}
    width = rows["word"][1]
    config = getattr(untyped, f"{kind}Config")(
        vocab_size=rows["word"][0],
        hidden_size=width,
        intermediate_size=weights["encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_hidden_layers=1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer.")),
        num_attention_heads=max(1, width // HEAD_WIDTH),
        max_position_embeddings=rows["position"][0],
        type_vocab_size=rows["token_type"][0],
        layer_norm_eps=epsilon,
        pad_token_id=pad_id,
    )
    check_tower_config(config, "text_cfg")
    return getattr(untyped, f"{kind}Model")(config, add_pooling_layer=False)


def _projection(folder: Path, state: Mapping[str, Tensor]) -> nn.Sequential:
    """Return the projection: none, one linear, or two linears with a GELU between them, all without bias."""
    weights = {name: value for name, value in state.items() if name.startswith("text.proj.")}
    orders = ((), ("text.proj.weight",), ("text.proj.0.weight", "text.proj.2.weight"))
    order = next((names for names in orders if set(names) == set(weights)), None)
    if order is None:
        raise ExportError(f"{folder}: expected text.proj with one linear or two, found {', '.join(sorted(weights))}")
    modules: list[nn.Module] = []
    for name in order:
        outputs, inputs = weights[name].shape
        layer = nn.Linear(inputs, outputs, bias=False)
        layer.weight = nn.Parameter(weights[name].float(), requires_grad=False)
        modules += [nn.GELU(), layer] if modules else [layer]
    return nn.Sequential(*modules)


def text_tower(model: HfTowers) -> Transformer:
    """Translate the text tower of `model`."""
    linears = [linear(module) for module in model.projection if isinstance(module, nn.Linear)]
    tower = bert_tower(
        model.transformer,
        model.transformer.config,
        dim=model.config.projection_dim,
        projection=linears[-1] if linears else None,
        first_position=model.first_position,
    )
    return replace(tower, pooling="mean", hidden_projection=linears[0] if len(linears) > 1 else None)
