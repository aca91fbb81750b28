"""Subjects on disk: the seeded shapes of ViT-B/32, any checkpoint folder or hub id, or an artifact alone.

Speed does not depend on the weights, so the shapes of ViT-B/32 with random weights stand for the real model where
none can be downloaded. The accuracy columns then say how well each contender reproduces these random weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from clipshelf import Artifact

from clipshelf_bench.datasets.inputs import random_sentences
from clipshelf_bench.subjects.subject import Subject, build_once

_SEED = 0
_SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")
_LEARNED_WORDS = 2000


def checkpoint_subject(cache: Path, checkpoint: str | None, artifact: Path | None) -> Subject:
    """The subject of a checkpoint, downloaded or made where it is not on disk.

    - `cache`: the folder that keeps subjects.
    - `checkpoint`: a folder, a hub id, or None for the seeded ViT-B/32 shapes.
    - `artifact`: its clipshelf artifact, None to export one.
    """
    name = "vit-b-32-shapes" if checkpoint is None else checkpoint.strip("/").replace("/", "--").split("--")[-1]
    folder = cache / "subjects" / name
    source = Path(checkpoint) if checkpoint and Path(checkpoint).is_dir() else folder / "checkpoint"
    with build_once(source) as target:
        if target is not None:
            write_seeded(target) if checkpoint is None else _download(checkpoint, target)
    config = _config(source)
    size = int(config.get("vision_config", {}).get("image_size", 224))
    tokens = int(config.get("text_config", {}).get("max_position_embeddings", 77))
    subject = Subject(name, folder, source.resolve(), artifact, size, tokens)
    subject.save()
    return subject


def artifact_subject(cache: Path, artifact: Path, name: str) -> Subject:
    """The subject of an artifact alone, which only clipshelf runs.

    - `cache`: the folder that keeps subjects.
    - `artifact`: the artifact's folder.
    - `name`: the subject's name.
    """
    manifest = Artifact.open(artifact).manifest
    subject = Subject(name, cache / "subjects" / name, None, artifact, manifest.image.size, manifest.text.max_tokens)
    subject.save()
    return subject


def vocabulary_size(checkpoint: Path) -> int:
    """Number of token ids that the text tower of a checkpoint knows."""
    return int(_config(checkpoint).get("text_config", {}).get("vocab_size", 49408))


def embedding_dim(subject: Subject) -> int:
    """D of the subject's embeddings."""
    if subject.checkpoint is None and subject.artifact is not None:
        return Artifact.open(subject.artifact).manifest.dim
    return int(_config(subject.require_checkpoint()).get("projection_dim", 512))


def _config(checkpoint: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text())
    return config


def write_seeded(folder: Path, configuration: Mapping[str, Any] | None = None) -> None:
    """Write a CLIP with random weights, and a tokenizer of CLIP's form.

    - `configuration`: of transformers' CLIPConfig, with `text_config` and `vision_config`; None for ViT-B/32.
    """
    import torch

    transformers = import_module("transformers")

    torch.manual_seed(_SEED)
    chosen = dict(configuration or {})
    text = dict(chosen.pop("text_config", {}))
    end = text.get("vocab_size", 49408) - 1
    text |= {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    config = transformers.CLIPConfig(text_config=text, **chosen)
    transformers.CLIPModel(config).save_pretrained(folder)
    size = config.vision_config.image_size
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    processor.save_pretrained(folder)
    vocabulary, merges = _byte_pairs(config.text_config.vocab_size)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    tokenizer = transformers.CLIPTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )
    tokenizer.save_pretrained(folder)


def _byte_pairs(size: int) -> tuple[dict[str, int], list[str]]:
    """A vocabulary of CLIP's form, and its merges.

    In order of ids: bytes, bytes that end a word, merges learned from the bench's sentences, filler up to `size`, the
    two special tokens.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=_LEARNED_WORDS, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(random_sentences(2000, _SEED), trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in learned]
    words = [*alphabet, *(byte + "</w>" for byte in alphabet), *(merge.replace(" ", "") for merge in merges)]
    words = list(dict.fromkeys(words))
    words += [f"filler{i}</w>" for i in range(size - len(words) - len(_SPECIAL_TOKENS))]
    return {word: i for i, word in enumerate([*words, *_SPECIAL_TOKENS])}, merges


def _download(hub_id: str, folder: Path) -> None:
    transformers = import_module("transformers")

    transformers.CLIPModel.from_pretrained(hub_id).save_pretrained(folder)
    transformers.CLIPImageProcessor.from_pretrained(hub_id).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(hub_id).save_pretrained(folder)
