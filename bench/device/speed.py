"""Pictures and texts a second and their latency, beside transformers on PyTorch. Every call goes from host to host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clipshelf.model.artifact import Artifact, TowerName
from clipshelf.runtime.providers import resolve_provider
from clipshelf.runtime.session import Session

from device.models import large_vision_graph, open_tower, torch_model
from device.report import Report, timed
from device.scale import Scale

TEXT_TOKENS = 16
COLUMNS = ["contender", "batch", "a second", "ms a call, median", "95 %"]


def embedding_speed(report: Report, scale: Scale, artifact: Artifact, checkpoint: Path) -> None:
    """Measure both towers in each batch."""
    size = artifact.manifest.image.size
    model = torch_model(checkpoint, scale)
    rng = np.random.default_rng(2)
    last = model.config.text_config.vocab_size - 1
    towers: dict[TowerName, str] = {"vision": "Pictures", "text": "Texts of 16 tokens"}
    for tower, name in towers.items():
        session = open_tower(artifact.path / artifact.manifest.graph(tower, "fp16"), artifact, scale.provider)
        rows: list[Sequence[Any]] = []
        for batch in scale.batches:
            pixels = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
            ids = rng.integers(1, last, (batch, TEXT_TOKENS))
            ids[:, -1] = last
            feeds = {"pixels": pixels} if tower == "vision" else {"input_ids": ids}
            contenders = {"clipshelf": _run(session, feeds)} | _torch_calls(model, feeds, scale, batch)
            rows += _rows(contenders, batch, scale.seconds)
        report.add(f"{name}:", "")
        report.table(COLUMNS, rows)


def _run(session: Session, feeds: dict[str, Any]) -> Callable[[], Any]:
    return lambda: session.run(feeds)


def _rows(contenders: dict[str, Callable[[], Any]], batch: int, seconds: float) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = []
    for name, call in contenders.items():
        times = timed(call, seconds)
        median = float(np.median(times))
        rows.append([name, batch, 1000 * batch / median, median, float(np.percentile(times, 95))])
    return rows


def _torch_calls(model: Any, feeds: dict[str, Any], scale: Scale, batch: int) -> dict[str, Callable[[], Any]]:
    """Calls of transformers, from the same arrays on the host to unit rows on the host."""
    is_vision = "pixels" in feeds
    embed = _picture_rows(model, scale) if is_vision else _text_rows(model)
    array = next(iter(feeds.values()))
    pinned = torch.from_numpy(array).pin_memory() if scale.torch_device != "cpu" else torch.from_numpy(array)

    def call(function: Callable[[Any], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode():
                return function(pinned.to(scale.torch_device, non_blocking=True)).float().cpu().numpy()

        return run

    calls = {"transformers, SDPA": call(embed)}
    if batch in scale.compiled_batches:
        compiled: Any = torch.compile(embed, **scale.compile_options)
        calls["transformers, torch.compile"] = call(compiled)
    return calls


def _picture_rows(model: Any, scale: Scale) -> Callable[[Any], Any]:
    """Pixels (B, S, S, 3) uint8 on the device to unit rows, normalised there."""
    dtype = torch.float16 if scale.half else torch.float32
    mean, std = (
        torch.tensor(values, dtype=dtype, device=scale.torch_device)
        for values in ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758))
    )

    def embed(pixels: Any) -> Any:
        values = ((pixels.to(dtype) / 255 - mean) / std).permute(0, 3, 1, 2)
        return torch.nn.functional.normalize(_features(model.get_image_features(pixel_values=values)), dim=-1)

    return embed


def _text_rows(model: Any) -> Callable[[Any], Any]:
    def embed(ids: Any) -> Any:
        return torch.nn.functional.normalize(_features(model.get_text_features(input_ids=ids)), dim=-1)

    return embed


def _features(output: Any) -> Any:
    """The projected rows: transformers 5 returns them inside an output."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def streams_speed(report: Report, scale: Scale, artifact: Artifact) -> None:
    """Measure how many pictures a second two callers get from one stream and from two."""
    size = artifact.manifest.image.size
    batch = scale.batches[-1] // 4 or 1
    pixels = np.zeros((batch, size, size, 3), np.uint8)
    rows = []
    for streams in (1, 2):
        session = open_tower(
            artifact.path / artifact.manifest.graph("vision", "fp16"), artifact, scale.provider, streams
        )
        with ThreadPoolExecutor(2) as pool:
            median = float(np.median(timed(partial(_run_twice, pool, session, pixels), scale.seconds)))
        rows.append([streams, batch, 2000 * batch / median])
    report.table(["streams", "batch of each of two callers", "pictures a second"], rows)


def _run_twice(pool: ThreadPoolExecutor, session: Session, pixels: Any) -> None:
    """Run a session in two threads at the same time."""
    for future in [pool.submit(session.run, {"pixels": pixels}) for _ in range(2)]:
        future.result()


def large_speed(report: Report, scale: Scale, work: Path) -> None:
    """Measure the vision tower of the larger model."""
    graph, size, dim = large_vision_graph(scale, work)
    ports: Any = {"pixels": ("uint8", (-1, size, size, 3))}, {"image_embeds": ("float", (-1, dim))}
    provider = resolve_provider(scale.provider)
    session = Session(graph, inputs=ports[0], outputs=ports[1], provider=provider, threads=16, arena=True)
    model = torch_model(work / "large", scale)
    rows: list[Sequence[Any]] = []
    for batch in scale.large_batches:
        feeds = {"pixels": np.random.default_rng(3).integers(0, 256, (batch, size, size, 3), np.uint8)}
        rows += _rows({"clipshelf": _run(session, feeds)} | _torch_calls(model, feeds, scale, 0), batch, scale.seconds)
    report.table(COLUMNS, rows)
