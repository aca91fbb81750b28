"""What a checkpoint is to the exporter: two towers, described without a framework.

Loaders (`clip.py`, `default.py`) make these records, the builders (`transformer.py`, `convnet.py`) read them; neither
knows the other. Weights are float32 NumPy arrays; a linear's weight is (inputs, outputs), so that rows @ weight + bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from clipshelf.model.artifact import ImageSpec, TextSpec
from clipshelf.types import FloatArray, Pixels, TokenIds

Activation = Literal["silu", "gelu"]
Pooling = Literal["first", "argmax", "eos", "mean"]


@dataclass(frozen=True)
class Linear:
    """rows (n, inputs) @ weight (inputs, outputs) + bias (outputs,)."""

    weight: FloatArray
    bias: FloatArray | None = None


@dataclass(frozen=True)
class Norm:
    """Layer normalisation: gain and bias (D,)."""

    gain: FloatArray
    bias: FloatArray
    epsilon: float


@dataclass(frozen=True)
class Layer:
    """One transformer layer. `qkv` is packed: its outputs are the queries, keys and values, D each."""

    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    fc1: Linear
    fc2: Linear


@dataclass(frozen=True)
class PatchEmbedding:
    """Square patches of a picture through one linear, a class token before them, positions, and a norm.

    `linear` takes patches flattened as (row, column, channel) of pixels scaled to [0, 1] and normalised by `mean` and
    `std` (3,); `class_token` is (D,), `positions` (1 + patches, D).
    """

    size: int
    patch: int
    mean: FloatArray
    std: FloatArray
    linear: Linear
    class_token: FloatArray
    positions: FloatArray
    norm: Norm | None


@dataclass(frozen=True)
class TokenEmbedding:
    """Rows of `tokens` (V, D) plus `positions` (max tokens, D), then a norm where the family has one.

    A family with token types adds the vector of type 0 to its positions.
    """

    tokens: FloatArray
    positions: FloatArray
    norm: Norm | None


@dataclass(frozen=True)
class Transformer:
    """A transformer tower.

    `post_norm`: a layer normalises after each residual sum (BERT), else before each branch (CLIP).
    `pooling`: the `first` token; the token with the largest id (`argmax`, legacy CLIP); the first `eos_id` (`eos`); the
    `mean` over the attention mask. Only `mean` takes a mask. `final_norm` comes before pooling, `projection` after it.
    """

    embedding: PatchEmbedding | TokenEmbedding
    layers: Sequence[Layer]
    heads: int
    activation: Activation
    post_norm: bool
    causal: bool
    pooling: Pooling
    dim: int
    eos_id: int = -1
    final_norm: Norm | None = None
    projection: Linear | None = None

    @property
    def takes_mask(self) -> bool:
        """Whether the graph has an attention_mask input."""
        return self.pooling == "mean"


@dataclass(frozen=True)
class Conv:
    """One convolution: weight (out, in / groups, kh, kw), pads (top, left, bottom, right), then ReLU6 or nothing."""

    weight: FloatArray
    bias: FloatArray
    stride: int
    groups: int
    pads: tuple[int, int, int, int]
    relu6: bool


@dataclass(frozen=True)
class Block:
    """Convolutions in a row; `residual` adds the block's input to its output."""

    convs: Sequence[Conv]
    residual: bool


@dataclass(frozen=True)
class ConvNet:
    """A convolutional tower: backbones whose global averages are joined to f (B, F), and two ways from f, summed.

        unit(softmax(classifier(f)) @ class_embeddings + fc2(gelu(fc1(f))))

    The first is ConSE (Norouzi et al. 2014): `class_embeddings` (classes, D) averaged as the classifier finds them
    likely. Pixels enter as (pixel - mean) / std, in units of 0 to 255.
    """

    size: int
    mean: float
    std: float
    backbones: Sequence[Sequence[Block]]
    classifier: Linear
    class_embeddings: FloatArray
    fc1: Linear
    fc2: Linear
    dim: int

    @property
    def takes_mask(self) -> bool:
        """Pictures have no attention mask."""
        return False


Tower: TypeAlias = Transformer | ConvNet


class Reference(Protocol):
    """The original model in torch, fp32."""

    def images(self, pixels: Pixels) -> FloatArray:
        """Unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""

    def texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Unit-norm embeddings (B, D) of input_ids (B, L), right-padded, with mask (B, L)."""

    def double(self) -> Reference | None:
        """The same computed in fp64, None where it cannot be."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a loader finds: the towers, how inputs are prepared, and the original to compare with."""

    family: str
    source: Mapping[str, Any]
    licence: str
    image: ImageSpec
    text_spec: TextSpec
    vision: Tower
    text: Tower
    tokenizer_json: str
    reference: Reference
