"""A `CLIPModel` folder to measure: made here from a seed, or any checkpoint or hub id brought to disk.

Speed does not depend on the weights, so the shapes of ViT-B/32 with random weights stand for the real model where
none can be downloaded. Its accuracy columns then say how well each contender keeps *these* weights.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from clipshelf.model.artifact import Artifact

from clipshelf_bench.datasets.inputs import sentences
from clipshelf_bench.subjects.subject import Subject, whole

SEED = 0
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def make_subject(cache: Path, checkpoint: str | None, artifact: Path | None) -> Subject:
    """The subject of a checkpoint (folder or hub id), of the seeded ViT-B/32 shapes where `checkpoint` is None."""
    name = "vit-b-32-shapes" if checkpoint is None else checkpoint.strip("/").replace("/", "--").split("--")[-1]
    folder = cache / "subjects" / name
    source = Path(checkpoint) if checkpoint and Path(checkpoint).is_dir() else folder / "checkpoint"
    with whole(source) as target:
        if target is not None:
            _seeded(target) if checkpoint is None else _downloaded(checkpoint, target)
    config = json.loads((source / "config.json").read_text())
    size, tokens = _limits(config)
    subject = Subject(name, folder, source.resolve(), artifact, size, tokens)
    subject.save()
    return subject


def vocabulary(checkpoint: Path) -> int:
    """Number of ids of the text tower."""
    config = json.loads((checkpoint / "config.json").read_text())
    return int(config.get("text_config", {}).get("vocab_size", 49408))


def dimension(subject: Subject) -> int:
    """D of the subject's embeddings."""
    if subject.checkpoint is None and subject.artifact is not None:
        return Artifact.open(subject.artifact).manifest.dim
    return int(json.loads((subject.source / "config.json").read_text()).get("projection_dim", 512))


def artifact_subject(cache: Path, artifact: Path, name: str) -> Subject:
    """The subject of an artifact alone: only clipshelf can run it."""
    manifest = Artifact.open(artifact).manifest
    subject = Subject(name, cache / "subjects" / name, None, artifact, manifest.image.size, manifest.text.max_tokens)
    subject.save()
    return subject


def _limits(config: dict[str, Any]) -> tuple[int, int]:
    vision, text = config.get("vision_config", {}), config.get("text_config", {})
    return int(vision.get("image_size", 224)), int(text.get("max_position_embeddings", 77))


def _seeded(folder: Path) -> None:
    import torch

    transformers = import_module("transformers")

    torch.manual_seed(SEED)
    config = transformers.CLIPConfig(text_config={"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407})
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    vocab, merges = _byte_pairs(config.text_config.vocab_size)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    tokenizer = transformers.CLIPTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )
    tokenizer.save_pretrained(folder)


def _byte_pairs(size: int) -> tuple[dict[str, int], list[str]]:
    """CLIP's vocabulary in form: bytes, bytes that end a word, merges learned from our sentences, filler, specials."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(sentences(2000, SEED), trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in learned]
    words = [*alphabet, *(byte + "</w>" for byte in alphabet), *(merge.replace(" ", "") for merge in merges)]
    words = list(dict.fromkeys(words))
    words += [f"filler{i}</w>" for i in range(size - len(words) - len(_SPECIAL))]
    return {word: i for i, word in enumerate([*words, *_SPECIAL])}, merges


def _downloaded(name: str, folder: Path) -> None:
    transformers = import_module("transformers")

    transformers.CLIPModel.from_pretrained(name).save_pretrained(folder)
    transformers.CLIPImageProcessor.from_pretrained(name).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(name).save_pretrained(folder)
