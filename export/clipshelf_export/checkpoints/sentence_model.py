"""Load a text tower of its own: a model of sentence-transformers that was trained to meet a CLIP's pictures.

sentence-transformers/clip-ViT-B-32-multilingual-v1 is the example: a DistilBERT, the mean over its tokens, and a linear
to the embeddings of CLIP ViT-B/32. Its folder has modules.json, which lists the steps, and a folder for each of them.
https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import transformers
from clipshelf.errors import ExportError
from clipshelf.model.artifact import TextSpec
from torch import Tensor, nn

from clipshelf_export.checkpoints.bert_text import bert_text_spec, bert_tower, distilbert_tower
from clipshelf_export.checkpoints.json_files import read_json
from clipshelf_export.checkpoints.library_pipeline import TextPipeline
from clipshelf_export.checkpoints.reference import TextReference
from clipshelf_export.checkpoints.tokenizer_files import load_tokenizer, read_tokenizer
from clipshelf_export.checkpoints.torch_modules import ACTIVATIONS, linear
from clipshelf_export.checkpoints.towers import Linear, Pooling, Transformer
from clipshelf_export.checkpoints.weights import checked_model, read_model, read_tensors, weight_hashes

MODULES = "modules.json"
# The class of transformers by the model_type of config.json, and whether its positions begin after the padding.
MODELS = {
    "distilbert": ("DistilBertModel", False),
    "bert": ("BertModel", False),
    "roberta": ("RobertaModel", True),
    "xlm-roberta": ("XLMRobertaModel", True),
}
POOLINGS: Mapping[str, Pooling] = {"mean": "mean", "cls": "first"}
IDENTITY = "torch.nn.modules.linear.Identity"
DENSE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class TextModel:
    """A loaded text tower, without a vision tower.

    - `family`: its model_type.
    - `source`: where it comes from, with the hashes of its weights.
    - `spec`, `tower`, `tokenizer_json`, `reference`, `pipeline`: as in a `Checkpoint`.
    """

    family: str
    source: Mapping[str, Any]
    spec: TextSpec
    tower: Transformer
    tokenizer_json: str
    reference: TextReference
    pipeline: TextPipeline


class SentenceModel(nn.Module):
    """A text tower in torch: a transformer, the pooling of its tokens, and linears.

    - `transformer`: of transformers.
    - `pooling`: "mean" or "first".
    - `linears`: applied one after another; may be empty.
    """

    def __init__(self, transformer: Any, pooling: Pooling, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.transformer, self.pooling, self.projection = transformer, pooling, nn.Sequential(*linears)

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return features (B, D) of `input_ids` (B, L) with `attention_mask` (B, L)."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "first":
            pooled = states[:, 0]
        else:
            keep = attention_mask.unsqueeze(-1)
            pooled = (states * keep).sum(1) / keep.sum(1)
        features: Tensor = self.projection(pooled)
        return features


def load(folder: Path, origin: Mapping[str, Any]) -> TextModel:
    """Load a text tower without the network.

    - `folder`: a model of sentence-transformers.
    - `origin`: its name, and its revision and licence where known, for the manifest.

    Raises ExportError naming what is missing, malformed or not supported.
    """
    transformer_folder, pooling, dense = _read_modules(folder)
    config = read_json(transformer_folder / "config.json")
    name, after_padding = MODELS.get(str(config.get("model_type")), ("", False))
    if not name:
        known = ", ".join(MODELS)
        raise ExportError(f"{folder}: model_type: expected one of {known}, found {config.get('model_type')}")
    transformer = read_model(transformer_folder, getattr(transformers, name), unused=("pooler.",))
    linears = [_read_dense(path) for path in dense]
    model = SentenceModel(transformer, pooling, linears).eval()
    first_position = int(transformer.config.pad_token_id) + 1 if after_padding else 0
    tower = _tower(model, first_position)
    tokenizer = read_tokenizer(transformer_folder)
    limit = min(_limit(folder, transformer_folder), len(tower.embedding.positions))
    spec = bert_text_spec(tokenizer, transformer.config, limit, str(folder))
    reference = TextReference(model)
    weights = {f"{path.name}/{file}": sha for path in dense for file, sha in weight_hashes(path).items()}
    return TextModel(
        family=str(config["model_type"]),
        source={**origin, "weights": {**weight_hashes(transformer_folder), **weights}},
        spec=spec,
        tower=tower,
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TextPipeline(reference, load_tokenizer(transformer_folder), max_tokens=spec.max_tokens),
    )


def _read_modules(folder: Path) -> tuple[Path, Pooling, list[Path]]:
    """Return the folder of the transformer, the pooling, and the folders of the linears, as modules.json lists them."""
    modules = read_json(folder / MODULES, list)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    paths = [folder / str(module.get("path", "")) for module in modules]
    steps = [kind for kind in kinds if kind != "Normalize"]  # an artifact normalises all embeddings
    if steps[:2] != ["Transformer", "Pooling"] or set(steps[2:]) - {"Dense"}:
        raise ExportError(f"{folder / MODULES}: expected Transformer, Pooling and Dense, found {', '.join(kinds)}")
    settings = folder / "config_sentence_transformers.json"
    prompts = read_json(settings) if settings.is_file() else {}
    if prompts.get("default_prompt_name"):
        name = prompts["default_prompt_name"]
        raise ExportError(f"{settings}: expected texts without a prompt, found default_prompt_name {name}")
    dense = [path for path, kind in zip(paths, kinds, strict=True) if kind == "Dense"]
    return paths[0], _read_pooling(paths[1]), dense


def _read_pooling(folder: Path) -> Pooling:
    """Return the pooling; older releases name it by a flag for each kind, of which one is true."""
    settings = read_json(folder / "config.json")
    prefix, suffix = "pooling_mode_", "_tokens"
    flags = [key.removeprefix(prefix).removesuffix(suffix) for key, value in settings.items() if value is True]
    flags = [flag.removesuffix("_token") for flag in flags if flag != "include_prompt"]
    mode = settings.get("pooling_mode") or (flags[0] if len(flags) == 1 else flags)
    if not isinstance(mode, str) or mode not in POOLINGS:
        raise ExportError(f"{folder}: pooling_mode: expected {' or '.join(POOLINGS)}, found {mode}")
    return POOLINGS[mode]


def _read_dense(folder: Path) -> nn.Linear:
    """Return a linear. Raises ExportError where something follows it."""
    settings = read_json(folder / "config.json")
    activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation != IDENTITY or settings.get("use_residual"):
        found = "use_residual" if settings.get("use_residual") else activation
        raise ExportError(f"{folder}: expected a linear alone (activation_function {IDENTITY}), found {found}")
    state = read_tensors(folder, DENSE_WEIGHTS)
    weight, bias = state.get("linear.weight"), state.get("linear.bias")
    if weight is None or weight.ndim != 2 or set(state) - {"linear.weight", "linear.bias"}:
        raise ExportError(f"{folder}: expected linear.weight and linear.bias, found {', '.join(sorted(state))}")
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    module.load_state_dict({name.removeprefix("linear."): value.float() for name, value in state.items()})
    checked: nn.Linear = checked_model(module.requires_grad_(False), str(folder))
    return checked


def _tower(model: SentenceModel, first_position: int) -> Transformer:
    """Translate a text tower; its linears become one."""
    projection: Linear | None = None
    for module in model.projection:
        projection = linear(module) if projection is None else projection.then(linear(module))
    config = model.transformer.config
    dim = int(config.hidden_size) if projection is None else projection.weight.shape[1]
    activation = str(config.activation if config.model_type == "distilbert" else config.hidden_act)
    if activation not in ACTIVATIONS:
        raise ExportError(f"config.json: activation: expected one of {', '.join(ACTIVATIONS)}, found {activation}")
    if config.model_type == "distilbert":
        tower = distilbert_tower(model.transformer, config, dim=dim, projection=projection)
    else:
        tower = bert_tower(model.transformer, config, dim=dim, projection=projection, first_position=first_position)
    return replace(tower, pooling=model.pooling)


def _limit(folder: Path, transformer_folder: Path) -> int:
    """Return the longest text in tokens by the settings, or the tokenizer's where they name none."""
    for path in (transformer_folder / "sentence_bert_config.json", folder / "sentence_bert_config.json"):
        settings = read_json(path) if path.is_file() else {}
        if settings.get("do_lower_case"):
            raise ExportError(f"{path}: do_lower_case: expected a tokenizer that lower-cases by itself, found true")
        if settings.get("max_seq_length"):
            return int(settings["max_seq_length"])
    return int(load_tokenizer(transformer_folder).model_max_length)
