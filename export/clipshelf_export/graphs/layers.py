"""What a transformer tower is made of, whichever operators compute it.

`FloatLayers` writes standard operators in fp32 or fp16, `KernelLayers` the operators of the native kernels in int8.
Letters: B batch, L tokens, C width. The *stream* is the float32 tensor (B, L, C) to which each branch adds its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from clipshelf_export.checkpoints.towers import AttentionPool, Layer, Linear, Norm, PatchEmbedding


@dataclass(frozen=True)
class Rows:
    """The rows that enter a site.

    - `x`: the tensor (B, L, C): in floating point, or rounded to uint8 as the site's parameters say.
    - `columns`: the tensor (B, L, O) of the O outlier channels before rounding; "" for none.
    """

    x: str
    columns: str = ""


@dataclass(frozen=True)
class Token:
    """The pooled token of each sequence.

    - `select`: adds the nodes that take it out of (B, L, C), and returns the name of (B, 1, C).
    - `position`: adds the nodes that give its position in (B, L, C), and returns the name of an int64 tensor: (1,) for
      all sequences, or (B, 1).
    """

    select: Callable[[str], str]
    position: Callable[[str], str]


class Layers(Protocol):
    """Writes the parts of a tower into a graph. Methods return the names of their outputs."""

    def norm(self, x: str, norm: Norm, name: str) -> str:
        """Add a norm of the stream; `name` is the prefix of its constants."""

    def patches(self, x: str, embedding: PatchEmbedding) -> str:
        """Add the linear of uint8 patches (B, n * n, patch * patch * 3): float32 (B, n * n, C)."""

    def stream(self, x: str) -> str:
        """Return the stream `x` as a tensor, where no norm reads it."""

    def site_norm(self, x: str, norm: Norm, site: str) -> Rows:
        """Add the norm before a site, with the smoothing and the shift of the site folded in."""

    def site_norm_and_stream(self, x: str, norm: Norm, site: str) -> tuple[Rows, str]:
        """Add the norm before a site whose plain output continues the stream too: the rows and the stream."""

    def attention(self, rows: Rows, layer: Layer, stream: str, *, token: Token | None, keys: str) -> str:
        """Add the attention of a layer and its output linear to the stream.

        - `rows`: that enter the site `qkv`.
        - `token`: where only the pooled token is needed; then the output is (B, 1, C).
        - `keys`: the mask of keys, int32 (B, L); "" for none.
        """

    def mlp(self, rows: Rows, layer: Layer, stream: str) -> str:
        """Add fc2(activation(fc1(rows))) to the stream."""

    def attention_pool(self, pool: AttentionPool, x: str) -> str:
        """Add the pooling by one trained query: a = attention(probe, x); a + mlp(norm(a)). It stays in floating point.

        - `x`: (B, L, C) after the final norm.

        Returns the name of (B, 1, C).
        """

    def projection(self, name: str, x: str, linear: Linear, *, gelu: bool = False) -> str:
        """Add a projection of the pooled token in floating point, with an exact GELU after it or without."""

    def token_sum(self, x: str, mask: str) -> str:
        """Add the sum of x (B, L, C) over the tokens where mask (B, L) is 1: (B, 1, C), the same for any padding."""

    def unit_norm(self, x: str) -> str:
        """Add the division of rows (B, D) by their L2 norms."""
