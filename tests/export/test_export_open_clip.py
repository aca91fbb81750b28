"""Folders of open_clip, against towers that are written down here as open_clip computes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import ftfy
import torch
import transformers
from clipshelf import Engine
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.checkpoints.open_clip_files import read_open_clip_tokenizer
from PIL import Image
from safetensors.torch import load_file, save_file
from support.scripts import texts_of_every_block
from tokenizers import processors
from torch import Tensor, nn
from torch.nn import functional as F

hugging: Any = transformers  # only half typed
WIDTH, HEADS, LAYERS, SIZE, PATCH, DIM, LENGTH = 64, 1, 2, 32, 8, 48, 40
SIGLIP_LENGTH = 24
TEXTS = ["lamp", "a red leather jacket, size 4", "A Warm_mug!", "", "mug that my mother"]


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in model.state_dict().items()}


class Block(nn.Module):
    """A layer of open_clip's `Transformer`."""

    def __init__(self, activation: Any, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 2 * WIDTH), "c_proj": nn.Linear(2 * WIDTH, WIDTH)})
        self.activation = activation

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        hidden = self.activation(self.mlp["c_fc"](self.ln_2(x)))
        y: Tensor = x + self.mlp["c_proj"](hidden)
        return y


def layers(activation: Any, heads: int) -> Any:
    return nn.ModuleDict({"resblocks": nn.ModuleList(Block(activation, heads) for _ in range(LAYERS))})


class Visual(nn.Module):
    """open_clip's `VisionTransformer`."""

    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(WIDTH))
        self.positional_embedding = nn.Parameter(torch.empty(1 + (SIZE // PATCH) ** 2, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = layers(activation, HEADS)
        self.proj = nn.Parameter(torch.empty(WIDTH, DIM))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer["resblocks"]:
            x = block(x)
        y: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return y


class Text(nn.Module):
    """open_clip's `TextTransformer` as CLIP has it; with an `eos_id`, it pools there and not at the largest id."""

    def __init__(self, vocabulary_size: int, activation: Any, eos_id: int | None = None) -> None:
        super().__init__()
        self.eos_id = eos_id
        self.token_embedding = nn.Embedding(vocabulary_size, WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(LENGTH, WIDTH))
        self.transformer, self.ln_final = layers(activation, 4), nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.empty(WIDTH, DIM))

    def forward(self, ids: Tensor) -> Tensor:
        mask = torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
        x = self.token_embedding(ids) + self.positional_embedding
        for block in self.transformer["resblocks"]:
            x = block(x, mask)
        pooled = ids.argmax(-1) if self.eos_id is None else (ids == self.eos_id).int().argmax(-1)
        y: Tensor = self.ln_final(x)[torch.arange(len(ids)), pooled] @ self.text_projection
        return y


class TrunkLayer(nn.Module):
    """A layer of timm's `VisionTransformer`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, 1e-6), nn.LayerNorm(WIDTH, 1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH), "proj": nn.Linear(WIDTH, WIDTH)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 2 * WIDTH), "fc2": nn.Linear(2 * WIDTH, WIDTH)})

    def forward(self, x: Tensor, activation: Any) -> Tensor:
        q, k, v = self.attn["qkv"](self.norm1(x)).chunk(3, -1)
        x = x + self.attn["proj"](F.scaled_dot_product_attention(q, k, v))  # one head
        y: Tensor = x + self.mlp["fc2"](activation(self.mlp["fc1"](self.norm2(x))))
        return y


class Trunk(nn.Module):
    """timm's `VisionTransformer` with the pooling `map`."""

    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, WIDTH, PATCH, PATCH)})
        self.pos_embed = nn.Parameter(torch.empty(1, (SIZE // PATCH) ** 2, WIDTH))
        self.blocks = nn.ModuleList(TrunkLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, 1e-6)
        self.attn_pool = nn.ModuleDict(
            {
                "q": nn.Linear(WIDTH, WIDTH),
                "kv": nn.Linear(WIDTH, 2 * WIDTH),
                "proj": nn.Linear(WIDTH, WIDTH),
                "norm": nn.LayerNorm(WIDTH, 1e-6),
                "mlp": nn.ModuleDict({"fc1": nn.Linear(WIDTH, 2 * WIDTH), "fc2": nn.Linear(2 * WIDTH, WIDTH)}),
            }
        )
        self.attn_pool.register_parameter("latent", nn.Parameter(torch.empty(1, 1, WIDTH)))
        self.activation = activation

    def forward(self, pixels: Tensor) -> Tensor:
        pool: Any = self.attn_pool
        x = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            x = block(x, self.activation)
        k, v = pool["kv"](self.norm(x)).chunk(2, -1)
        q = pool["q"](pool.latent).expand(len(x), -1, -1)
        a = pool["proj"](F.scaled_dot_product_attention(q, k, v))
        y: Tensor = (a + pool["mlp"]["fc2"](self.activation(pool["mlp"]["fc1"](pool["norm"](a)))))[:, 0]
        return y


class SiglipText(nn.Module):
    """open_clip's `TextTransformer` as SigLIP has it."""

    def __init__(self, vocabulary_size: int, activation: Any) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary_size, WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(SIGLIP_LENGTH, WIDTH))
        self.transformer, self.ln_final = layers(activation, 4), nn.LayerNorm(WIDTH, 1e-6)
        for block in self.transformer["resblocks"]:
            block.ln_1.eps = block.ln_2.eps = 1e-6
        self.text_projection = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.positional_embedding
        for block in self.transformer["resblocks"]:
            x = block(x)
        y: Tensor = self.text_projection(self.ln_final(x)[:, -1])
        return y


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def write_clip(folder: Path, *, quick: bool, custom: bool, **preprocess: Any) -> tuple[Visual, Text, Any]:
    """Write CLIP's own towers; `custom` gives the text tower the prefix of `CustomTextCLIP`."""
    folder.mkdir(parents=True)
    tokenizer = checkpoints.write_tokenizer(folder)
    activation = quick_gelu if quick else F.gelu
    visual, text = Visual(activation).eval(), Text(len(tokenizer), activation).eval()
    checkpoints.initialise(visual, 1)
    checkpoints.initialise(text, 2)
    prefix = "text." if custom else ""
    state = {f"visual.{name}": value for name, value in state_of(visual).items()}
    state |= {f"{prefix}{name}": value for name, value in state_of(text).items()} | {"logit_scale": torch.tensor(4.6)}
    save_file(state, folder / "open_clip_model.safetensors")
    config = {
        "model_cfg": {
            "embed_dim": DIM,
            "quick_gelu": quick,
            "vision_cfg": {"image_size": SIZE, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH, "mlp_ratio": 2.0},
            "text_cfg": {
                "context_length": LENGTH,
                "vocab_size": len(tokenizer),
                "width": WIDTH,
                "heads": 4,
                "layers": LAYERS,
                "mlp_ratio": 2.0,
            },
        },
        "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], **preprocess},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return visual, text, tokenizer


def write_siglip(folder: Path, *, tanh: bool) -> tuple[Trunk, SiglipText, Any]:
    """Write a trunk of timm and SigLIP's text tower."""
    from test_export_siglip import write_gemma

    tokenizer = write_gemma(folder, "right")
    activation = gelu_tanh if tanh else F.gelu
    trunk, text = Trunk(activation).eval(), SiglipText(len(tokenizer), activation).eval()
    checkpoints.initialise(trunk, 1)
    checkpoints.initialise(text, 2)
    state = {f"visual.trunk.{name}": value for name, value in state_of(trunk).items()}
    state |= {f"text.{name}": value for name, value in state_of(text).items()}
    state |= {"logit_scale": torch.tensor(4.7), "logit_bias": torch.tensor(-16.5)}
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    name = "vit_base_patch32_siglip_256" if tanh else "vit_base_patch16_siglip_224"
    text_cfg: dict[str, Any] = {
        "context_length": SIGLIP_LENGTH,
        "vocab_size": len(tokenizer),
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": WIDTH,
        "heads": 4,
        "layers": LAYERS,
        "mlp_ratio": 2.0,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    }
    if tanh:
        text_cfg["act_kwargs"] = {"approximate": "tanh"}
    config = {
        "model_cfg": {
            "embed_dim": WIDTH,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {"image_size": SIZE, "timm_model_name": name, "timm_pool": "map", "timm_proj": "none"},
            "text_cfg": text_cfg,
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return trunk, text, tokenizer


def embed_pictures(visual: nn.Module, folder: Path, pictures: list[Image.Image]) -> Any:
    """Embed pictures as open_clip's own transform and tower do: Pillow's resize, then a crop of the centre."""
    config = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    bicubic = Image.Resampling.BICUBIC
    filter_ = {"bicubic": bicubic, "bilinear": Image.Resampling.BILINEAR, "random": bicubic}
    values = []
    for picture in pictures:
        (width, height), size = picture.size, (SIZE, SIZE)
        if config.get("resize_mode", "shortest") == "shortest":
            short = min(width, height)
            size = (int(SIZE * width / short), int(SIZE * height / short))
        resized = picture.resize(size, filter_[config.get("interpolation", "bicubic")])
        left, top = round((size[0] - SIZE) / 2), round((size[1] - SIZE) / 2)
        pixels = np.asarray(resized.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
        values.append((pixels - np.array(config["mean"])) / np.array(config["std"]))
    with torch.inference_mode():
        rows = visual(torch.from_numpy(np.stack(values).transpose(0, 3, 1, 2)).float())
    return F.normalize(rows, dim=-1).numpy()


PICTURES = [
    Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize(size) for size in ((90, 52), (40, 64), (32, 32))
]


@pytest.mark.parametrize(
    ("quick", "custom", "preprocess"),
    [
        (True, False, {}),
        (False, True, {"resize_mode": "shortest", "interpolation": "bilinear", "size": [SIZE, SIZE]}),
        (False, False, {"resize_mode": "squash", "interpolation": "random"}),
    ],
)
def test_clips_own_towers(
    quick: bool, custom: bool, preprocess: dict[str, Any], tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    folder = tmp_path / "checkpoint"
    visual, text, tokenizer = write_clip(folder, quick=quick, custom=custom, **preprocess)
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    assert manifest.family == "open_clip"
    assert all(manifest.parity[tower]["fp32"]["difference"] <= 1e-5 for tower in ("vision", "text"))
    engine = Engine.load(tmp_path / "out", decode="exact", threads=1)
    assert np.abs(engine.embed_images(PICTURES) - embed_pictures(visual, folder, PICTURES)).max() <= 1e-5
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    ids = torch.zeros(len(rows), LENGTH, dtype=torch.long)  # open_clip pads with 0
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = torch.tensor(values)
    with torch.inference_mode():
        expected = F.normalize(text(ids), dim=-1).numpy()
    assert np.abs(engine.embed_texts(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize("bos", [True, False])
def test_a_text_tower_that_pools_at_the_end_of_text(
    bos: bool, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    from test_export_multilingual import save, write_xlmr

    folder = tmp_path / "checkpoint"
    write_clip(folder, quick=False, custom=False)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    tokenizer = write_xlmr(folder)
    if not bos:  # like mT5's
        backend = tokenizer.backend_tokenizer
        backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
        tokenizer = save(backend, folder, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    limits = json.loads((folder / "tokenizer_config.json").read_text()) | {"model_max_length": 8}
    (folder / "tokenizer_config.json").write_text(json.dumps(limits))  # open_clip counts to context_length only
    text = Text(len(tokenizer), F.gelu, eos_id=2).eval()
    checkpoints.initialise(text, 2)
    state = load_file(folder / "open_clip_model.safetensors") | state_of(text)
    save_file(state, folder / "open_clip_model.safetensors")
    settings = {"vocab_size": len(tokenizer), "hf_tokenizer_name": "xlm-v", "pool_type": "eos", "eos_id": 2}
    change(folder, "text_cfg", **settings)
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    assert all(manifest.parity[tower]["fp32"]["difference"] <= 1e-5 for tower in ("vision", "text"))
    assert manifest.text.max_tokens == LENGTH
    batch = tokenizer(TEXTS, padding="max_length", max_length=LENGTH, return_tensors="pt")
    assert (batch["input_ids"] != 1).sum(-1).max() > 8
    with torch.inference_mode():
        expected = F.normalize(text(batch["input_ids"]), dim=-1).numpy()
    assert np.abs(Engine.load(tmp_path / "out", threads=1).embed_texts(TEXTS) - expected).max() <= 1e-5
    change(folder, "text_cfg", eos_id=3)
    with pytest.raises(ExportError, match="eos_token_id: expected the tokenizer's 2, found 3"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("tanh", [False, True])
def test_siglip_with_a_trunk_of_timm(tanh: bool, tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    pytest.importorskip("sentencepiece", reason="the tokenizer's module needs clipshelf[export]")
    folder = tmp_path / "checkpoint"
    trunk, text, tokenizer = write_siglip(folder, tanh=tanh)
    # the trunk's heads are 64 wide, so that WIDTH gives one
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    assert all(manifest.parity[tower]["fp32"]["difference"] <= 1e-5 for tower in ("vision", "text"))
    assert manifest.logits == pytest.approx({"scale": np.exp(4.7), "bias": -16.5}, rel=1e-6)
    engine = Engine.load(tmp_path / "out", decode="exact", threads=1)
    assert np.abs(engine.embed_images(PICTURES) - embed_pictures(trunk, folder, PICTURES)).max() <= 1e-5
    cleaned = ["lamp", "a red leather jacket size 4", "a warm mug", "", "mug that my mother"]  # canonicalised by hand
    batch = tokenizer(cleaned, padding="max_length", max_length=SIGLIP_LENGTH, return_tensors="pt")
    with torch.inference_mode():
        expected = F.normalize(text(batch["input_ids"]), dim=-1).numpy()
    assert np.abs(engine.embed_texts(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize("projection", ["mlp", "linear"])
@pytest.mark.parametrize("kind", ["XLMRoberta", "Bert"])
def test_a_text_tower_of_transformers(
    kind: str, projection: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    from test_export_multilingual import write_bert, write_xlmr

    folder = tmp_path / "checkpoint"
    visual, _, _ = write_clip(folder, quick=False, custom=True)
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        (folder / name).unlink(missing_ok=True)
    tokenizer = write_bert(folder) if kind == "Bert" else write_xlmr(folder)
    pad_id, epsilon = (0, 1e-12) if kind == "Bert" else (1, 1e-5)
    shape = {"hidden_size": WIDTH, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1}
    config = getattr(hugging, f"{kind}Config")(
        vocab_size=len(tokenizer), max_position_embeddings=82, pad_token_id=pad_id, layer_norm_eps=epsilon, **shape
    )
    text = getattr(hugging, f"{kind}Model")(config, add_pooling_layer=False).eval()
    linears = [nn.Linear(WIDTH, 56, bias=False), nn.GELU(), nn.Linear(56, DIM, bias=False)]
    proj: Any = nn.Sequential(*linears) if projection == "mlp" else nn.Linear(WIDTH, DIM, bias=False)
    checkpoints.initialise(text, 3)
    checkpoints.initialise(proj, 4)
    state = {f"visual.{name}": value for name, value in state_of(visual).items()}
    state |= {f"text.transformer.{name}": value for name, value in state_of(text).items()}
    state |= {f"text.proj.{name}": value for name, value in state_of(proj).items()}
    save_file(state, folder / "open_clip_model.safetensors")
    name = "bert-base-uncased" if kind == "Bert" else "xlm-roberta-base"
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["model_cfg"]["text_cfg"] = {"hf_model_name": name, "hf_tokenizer_name": name, "hf_proj_type": projection}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    manifest = export(folder, tmp_path / "out", precisions=("fp32",), **calibration_data).manifest
    assert all(manifest.parity[tower]["fp32"]["difference"] <= 1e-5 for tower in ("vision", "text"))
    texts = ["lamp", "  a red\t leather jacket \n", "привет", "東京"]
    batch = tokenizer(
        [" ".join(text.split()) for text in texts], padding="max_length", max_length=40, return_tensors="pt"
    )
    mask = (batch["input_ids"] != pad_id).long()
    with torch.inference_mode():
        states = text(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        pooled = (states * mask[..., None]).sum(1) / mask.sum(-1, keepdim=True)
        expected = F.normalize(proj(pooled), dim=-1).numpy()
    found = Engine.load(tmp_path / "out", threads=1).embed_texts(texts)
    assert np.abs(found - expected).max() <= 1e-5


def test_texts_are_repaired_as_open_clip_does(tmp_path: Path) -> None:
    write_clip(tmp_path / "checkpoint", quick=False, custom=False)
    config = ftfy.TextFixerConfig(unescape_html=False, fix_encoding=False)  # which the engine does
    quotes = ["men\u2019s \u201cboots\u201d", "\u0149 \ufb01", "\uff21\uff22\u3000\uff43", "e\u0301\ufeff", "\x85 \x92"]
    found = read_open_clip_tokenizer(tmp_path / "checkpoint", {}).normalizer()
    for text in [*quotes, *texts_of_every_block()]:
        expected = " ".join(ftfy.fix_text(text, config).split()).lower()
        assert found.normalize_str(text).strip() == expected, ascii(text)


def change(folder: Path, part: str, **changes: Any) -> None:
    config = json.loads((folder / "open_clip_config.json").read_text())
    target = (
        config if part == "" else config["preprocess_cfg"] if part == "preprocess_cfg" else config["model_cfg"][part]
    )
    target |= changes
    (folder / "open_clip_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "expected a vision transformer of CLIP, found a ResNet"),
        ("vision_cfg", {"timm_model_name": "convnext_base"}, "plain vision transformer of SigLIP, found convnext_base"),
        ("vision_cfg", {"attentional_pool": True}, "vision_cfg.attentional_pool: expected no such setting, found True"),
        (
            "text_cfg",
            {"hf_model_name": "google/mt5-base"},
            "expected an XLM-R, a RoBERTa or a BERT",
        ),
        ("text_cfg", {"embed_cls": True}, "text_cfg.embed_cls: expected no such setting"),
        ("text_cfg", {"tokenizer_mode": "clips"}, "text_cfg.tokenizer_mode: expected no such setting, found 'clips'"),
        ("text_cfg", {"pool_type": "first"}, "expected CLIP's causal text tower, found pool_type first"),
        ("text_cfg", {"width": 32}, "expected weights of the shapes in open_clip_config.json, found"),
        ("text_cfg", {"layers": 1}, "found 16 unknown: text_model.encoder.layers.1"),
        ("preprocess_cfg", {"resize_mode": "longest"}, "resize_mode: expected shortest or squash, found longest"),
        ("preprocess_cfg", {"interpolation": "nearest"}, "expected one of bicubic, bilinear, random, found nearest"),
        ("", {"model_cfg": {"embed_dim": 8}}, "expected embed_dim, vision_cfg and text_cfg"),
    ],
)
def test_what_is_not_supported_is_named(part: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "checkpoint", quick=False, custom=False)
    change(tmp_path / "checkpoint", part, **changes)
    with pytest.raises(ExportError, match=message):
        load_checkpoint(str(tmp_path / "checkpoint"))


def test_a_folder_of_both_layouts_with_code_of_its_own_is_read_as_open_clips(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    write_clip(folder, quick=False, custom=False)
    config = {"model_type": "clip", "auto_map": {"AutoModel": "modeling.Other"}}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"model.weight": torch.zeros(1)}, folder / "model.safetensors")
    assert load_checkpoint(str(folder)).family == "open_clip"
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(ExportError, match="found clip: a model with code of its own, which is not run"):
        load_checkpoint(str(folder))


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "checkpoint", quick=False, custom=False)
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "other")
    (tmp_path / "checkpoint/open_clip_model.safetensors").unlink()
    with pytest.raises(ExportError, match=r"expected open_clip_model.safetensors, .* found none of them"):
        load_checkpoint(str(tmp_path / "checkpoint"))
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (tmp_path / "other" / name).unlink(missing_ok=True)
    with pytest.raises(ExportError, match=r"found neither \(open_clip reads CLIP's tokenizer from its own package"):
        load_checkpoint(str(tmp_path / "other"))
