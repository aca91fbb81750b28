"""The sites of a tower: the linears that int8 can compute. `graphs.plan` defines what a site computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clipshelf_export.checkpoints.towers import Linear, OnnxTower, PatchEmbedding, Transformer
from clipshelf_export.graphs.inputs import PATCHES_SITE, TOKENS_SITE
from clipshelf_export.graphs.onnx_linears import find_linears, find_tables
from clipshelf_export.graphs.plan import Int8Params


@dataclass(frozen=True)
class Site:
    """A linear that int8 can compute.

    - `name`: its path in the tower, such as `layers.3.fc1`.
    - `linear`: its weight and bias.
    - `foldable`: whether a smoothing and a shift fold into what comes before it, so that they take no nodes.
    """

    name: str
    linear: Linear
    foldable: bool


def iterate_sites(tower: Transformer | OnnxTower, chosen: Mapping[str, Int8Params]) -> Iterator[Site]:
    """Yield the sites of all layers in the order in which they can be chosen.

    The site `out` of a layer comes before its `qkv`: the smoothing and the shift of `out` are folded into the values,
    which `qkv` computes.

    - `chosen`: the parameters chosen so far, by site. It is read during the iteration, so the caller may add to it.
    """
    if isinstance(tower, OnnxTower):
        for linear in find_linears(tower):
            yield Site(linear.site, linear.linear, foldable=linear.after_norm)
        return
    width = tower.layers[0].out.weight.shape[0]
    for index, layer in enumerate(tower.layers):
        prefix = f"layers.{index}"
        yield Site(f"{prefix}.out", layer.out, foldable=True)
        out = chosen.get(f"{prefix}.out")
        qkv = layer.qkv if out is None else out.fold_output(layer.qkv, 2 * width)
        yield Site(f"{prefix}.qkv", qkv, foldable=not tower.post_norm)
        yield Site(f"{prefix}.fc1", layer.fc1, foldable=not tower.post_norm)
        yield Site(f"{prefix}.fc2", layer.fc2, foldable=False)


def uncalibrated_sites(tower: Transformer | OnnxTower) -> dict[str, Int8Params]:
    """Return the sites that need no calibration, since their inputs are whole numbers: the patches or the tokens."""
    if isinstance(tower, OnnxTower):
        return {site: Int8Params(1.0, 128) for site in find_tables(tower).values()}
    site = PATCHES_SITE if isinstance(tower.embedding, PatchEmbedding) else TOKENS_SITE
    return {site: Int8Params(1.0, 128)}
