"""Checkpoints with random weights, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from clipshelf import Engine
from clipshelf.model.artifact import Artifact
from clipshelf.runtime.providers import resolve_provider
from clipshelf.runtime.session import Session
from clipshelf_bench.datasets.inputs import random_sentences
from clipshelf_bench.subjects.checkpoint import write_seeded
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.graphs.build import write_graph
from clipshelf_export.graphs.plan import Plan
from PIL import Image

from device.report import Report
from device.scale import Scale

# Below these, embeddings of fp16 are not those of the model.
LEAST_COSINE, LEAST_OVERLAP = 0.999, 0.95


def export_model(report: Report, scale: Scale, work: Path) -> Artifact:
    """Make the checkpoint, and export it in fp16 and fp32 through the gates."""
    write_seeded(work / "checkpoint", scale.model)
    images, texts = _small_samples(work) if scale.model else (None, None)
    artifact = export(
        work / "checkpoint",
        work / "artifact",
        precisions=("fp16", "fp32"),
        calibration_images=images,
        calibration_texts=texts,
    )
    report.add("What the gate measured on the CPU, with every rounding of fp16:", "")
    names = ("stream", "cosine_min", "centred_mean", "centred_min", "top10_overlap", "difference")
    rows = [[tower, *(artifact.manifest.parity[tower]["fp16"][name] for name in names)] for tower in ("vision", "text")]
    report.table(["tower", *names], rows)
    return artifact


def _small_samples(work: Path) -> tuple[Path, Path]:
    """Pictures and texts for the gate of a tiny model, fewer than the export has itself."""
    (work / "pictures").mkdir()
    for number, noise in enumerate(np.random.default_rng(1).integers(0, 256, (60, 32, 32, 3), np.uint8)):
        Image.fromarray(noise).save(work / f"pictures/{number}.png")
    (work / "texts.txt").write_text("\n".join(random_sentences(100, 3)))
    return work / "pictures", work / "texts.txt"


def numerics(report: Report, scale: Scale, artifact: Artifact) -> None:
    """Compare embeddings on the GPU with those of the fp32 graphs on the CPU; RuntimeError where they are far."""
    rng = np.random.default_rng(0)
    size = artifact.manifest.image.size
    pixels = rng.integers(0, 256, (max(scale.batches), size, size, 3), np.uint8)
    texts = random_sentences(max(scale.batches), 1)
    on_gpu = Engine.load(artifact.path, scale.provider)
    fp32 = open_tower(artifact.path / artifact.manifest.graph("vision", "fp32"), artifact, "cpu")
    exact = np.concatenate([fp32.run({"pixels": pixels[i : i + 8]}) for i in range(0, len(pixels), 8)])
    expected = {"pictures": exact, "texts": _fp32_texts(artifact, texts)}
    found = {"pictures": on_gpu.embed_pixels(pixels), "texts": on_gpu.embed_texts(texts)}
    measured = {name: agreement(found[name], expected[name]) for name in found}
    report.add(f"Provider {on_gpu.provider}, precision {on_gpu.precision}, beside fp32 on the CPU:", "")
    rows = [[name, len(found[name]), *values] for name, values in measured.items()]
    report.table(["", "inputs", "largest difference", "least cosine", "same of 10 nearest"], rows)
    recorded = on_gpu.embed_pixels(pixels[:1])
    for _ in range(4):  # the first runs of a shape are not replays
        recorded = on_gpu.embed_pixels(pixels[:1])
    change = float(np.abs(recorded - found["pictures"][:1]).max())
    report.add(f"One picture as a replayed CUDA graph, beside the same in a batch: {change:.1e} apart.", "")
    for name, (_, cosine, overlap) in measured.items():
        if cosine < LEAST_COSINE or overlap < LEAST_OVERLAP:
            raise RuntimeError(f"{name}: expected embeddings of the model, found cosine {cosine}, overlap {overlap}")


def _fp32_texts(artifact: Artifact, texts: list[str]) -> Any:
    session = open_tower(artifact.path / artifact.manifest.graph("text", "fp32"), artifact, "cpu")
    tokenizer = Engine.load(artifact.path).towers.tokenizer()
    return np.concatenate([session.run({"input_ids": np.array([ids])}) for ids in token_ids(tokenizer, texts)])


def token_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The ids of each text, by the artifact's tokenizer."""
    return [list(ids) for ids in tokenizer.encode(texts)]


def agreement(found: Any, expected: Any) -> tuple[float, float, float]:
    """Largest difference, least cosine, and share of the 10 nearest neighbours that are the same."""
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    k = min(10, len(found) - 1)
    near = [set_of_nearest(rows, k) for rows in (found, expected)]
    shared = [len(a & b) / k for a, b in zip(*near, strict=True)]
    return float(np.abs(found - expected).max()), float(cosines.min()), float(np.mean(shared))


def set_of_nearest(rows: Any, k: int) -> list[set[int]]:
    """The k nearest other rows of each row."""
    scores = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(scores, -np.inf)
    return [set(order[:k].tolist()) for order in np.argsort(-scores, axis=1, kind="stable")]


def open_tower(graph: Path, artifact: Artifact, provider: str, streams: int = 1) -> Session:
    """Open one graph of an artifact on a provider."""
    size, dim = artifact.manifest.image.size, artifact.manifest.dim
    is_vision = graph.name.startswith("vision")
    inputs: Any = {"pixels": ("uint8", (-1, size, size, 3))} if is_vision else {"input_ids": ("int64", (-1, -1))}
    outputs: Any = {"image_embeds" if is_vision else "text_embeds": ("float", (-1, dim))}
    name = resolve_provider(provider)
    return Session(graph, inputs=inputs, outputs=outputs, provider=name, threads=16, arena=True, streams=streams)


def large_vision_graph(scale: Scale, work: Path) -> tuple[Path, int, int]:
    """Write the fp16 vision graph of the larger model; return its path, the size of its pictures, and D."""
    write_seeded(work / "large", scale.large_model)
    checkpoint = load_checkpoint(str(work / "large"), None)
    write_graph(checkpoint.vision, Plan("fp16"), work / "vision.large.onnx")
    return work / "vision.large.onnx", checkpoint.image_spec.size, checkpoint.vision.dim


def torch_model(folder: Path, scale: Scale) -> Any:
    """The model in transformers with scaled-dot-product attention, in fp16 on a GPU."""
    from transformers import CLIPModel

    dtype = torch.float16 if scale.half else torch.float32
    model = CLIPModel.from_pretrained(folder, attn_implementation="sdpa", dtype=dtype)
    return model.eval().to(scale.torch_device)
