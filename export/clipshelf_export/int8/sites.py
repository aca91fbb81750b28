"""The linears of a transformer tower that int8 can take, in an order in which each knows the plan of those before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clipshelf_export.checkpoints.towers import Linear, PatchEmbedding, Transformer
from clipshelf_export.graphs.inputs import PATCHES, TOKENS
from clipshelf_export.graphs.plan import Int8


@dataclass(frozen=True)
class Site:
    """A linear by name; `free`: what comes before it takes a spread and a shift without a node."""

    name: str
    linear: Linear
    free: bool


def sites(tower: Transformer, chosen: Mapping[str, Int8]) -> Iterator[Site]:
    """All linears of the layers, the output of an attention before its inputs.

    The values carry the spread of the output's site, so the packed linear is the one after that folding; `chosen` is
    read while iterating.
    """
    width = tower.layers[0].out.weight.shape[0]
    for index, layer in enumerate(tower.layers):
        name = f"layers.{index}"
        yield Site(f"{name}.out", layer.out, free=True)
        out = chosen.get(f"{name}.out")
        qkv = layer.qkv if out is None else out.fold_output(layer.qkv, 2 * width)
        yield Site(f"{name}.qkv", qkv, free=not tower.post_norm)
        yield Site(f"{name}.fc1", layer.fc1, free=not tower.post_norm)
        yield Site(f"{name}.fc2", layer.fc2, free=False)


def fixed(tower: Transformer) -> dict[str, Int8]:
    """Sites whose input needs no calibration: pixels and tokens are integers already."""
    return {PATCHES if isinstance(tower.embedding, PatchEmbedding) else TOKENS: Int8(1.0, 128)}
