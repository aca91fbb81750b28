"""The values that describe a checkpoint: its two towers, how their inputs are prepared, and the original model.

A *tower* is the network that embeds one kind of input: the vision tower takes pictures, the text tower takes tokens.
The loaders of the families (`clip` and others) make these values and the graph builders (`graphs.transformer`,
`graphs.convnet`) read them. The values name no framework: weights are float32 NumPy arrays.

Shapes use B for the batch, S for the edge of a picture in pixels, L for tokens, C for the channels of a tower's rows
and D for the embedding dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.model.artifact import ImageSpec, TextSpec
from clipshelf.types import FloatArray, Pixels, TokenIds
from PIL import Image

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh"]
Pooling: TypeAlias = Literal["first", "last", "argmax", "eos", "mean", "attention"]
PaddingSide: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True)
class Linear:
    """A linear layer: rows (n, inputs) @ weight + bias.

    - `weight`: (inputs, outputs).
    - `bias`: (outputs,), or None for no bias.
    """

    weight: FloatArray
    bias: FloatArray | None = None

    @classmethod
    def packed(cls, linears: Sequence[Linear]) -> Linear:
        """Return one linear whose outputs are those of `linears`, which share their input, one after another."""
        biases = [linear.bias for linear in linears if linear.bias is not None]
        return cls(np.concatenate([linear.weight for linear in linears], 1), np.concatenate(biases))

    def scaled(self, factor: np.float32) -> Linear:
        """Return the linear whose outputs are `factor` times as large."""
        return Linear(self.weight * factor, None if self.bias is None else self.bias * factor)

    def then(self, other: Linear) -> Linear:
        """Return the linear that computes `other` on the outputs of this one; the product is rounded once."""
        weight = other.weight.astype(np.float64)
        bias = np.zeros(weight.shape[1]) if other.bias is None else other.bias.astype(np.float64)
        if self.bias is not None:
            bias = bias + self.bias @ weight
        return Linear((self.weight @ weight).astype(np.float32), bias.astype(np.float32))

    def columns(self, start: int, stop: int) -> Linear:
        """Return the linear that computes the outputs from `start` to `stop` only."""
        return Linear(self.weight[:, start:stop], None if self.bias is None else self.bias[start:stop])


@dataclass(frozen=True)
class Norm:
    """Layer normalisation.

    - `gain`, `bias`: (C,).
    - `epsilon`: added to the variance.
    """

    gain: FloatArray
    bias: FloatArray
    epsilon: float


@dataclass(frozen=True)
class Layer:
    """One transformer layer.

    - `norm1`, `norm2`: the norms of the attention and of the MLP.
    - `qkv`: the packed linear whose outputs are the queries, the keys and the values, C each.
    - `out`: the linear after the attention.
    - `fc1`, `fc2`: the two linears of the MLP.
    """

    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    fc1: Linear
    fc2: Linear


@dataclass(frozen=True)
class PatchEmbedding:
    """The rows that enter a vision transformer: a class token or none, then square patches through one linear.

    - `size`: S, the edge of a picture in pixels.
    - `patch`: the edge of a patch in pixels.
    - `mean`, `std`: (3,), applied to pixels scaled to [0, 1].
    - `linear`: takes a normalised patch, flattened as (row, column, channel).
    - `class_token`: (C,), comes before the patches; None for no such token.
    - `positions`: a row for the class token, if there is one, and one per patch, each (C,); added to them.
    - `norm`: applied to the sum, or None.
    """

    size: int
    patch: int
    mean: FloatArray
    std: FloatArray
    linear: Linear
    class_token: FloatArray | None
    positions: FloatArray
    norm: Norm | None


@dataclass(frozen=True)
class Padding:
    """The padding of a text tower that takes texts of one length only, and padding as tokens like others.

    - `length`: of each text after padding.
    - `pad_id`: the token that fills it up.
    - `side`: where the padding goes. With "left", `pad_id` must not occur in a text.
    """

    length: int
    pad_id: int
    side: PaddingSide = "right"


@dataclass(frozen=True)
class TokenEmbedding:
    """The rows that enter a text transformer: a row per token plus a row per position.

    - `tokens`: (V, C) for V tokens.
    - `positions`: (max tokens, C). A family with token types adds the vector of type 0 here.
    - `norm`: applied to the sum, or None.
    - `padding`: done by the graph itself; None for texts of any length.
    """

    tokens: FloatArray
    positions: FloatArray
    norm: Norm | None
    padding: Padding | None = None


@dataclass(frozen=True)
class AttentionPool:
    """The pooling of SigLIP's vision tower: one trained query attends to all tokens, then an MLP with a residual.

    - `probe`: (C,), the trained query before its linear.
    - `qkv`, `out`: the linears of the attention, packed as in a `Layer`.
    - `norm`: before the MLP.
    - `fc1`, `fc2`: the two linears of the MLP.
    """

    probe: FloatArray
    qkv: Linear
    out: Linear
    norm: Norm
    fc1: Linear
    fc2: Linear


@dataclass(frozen=True)
class Transformer:
    """A transformer tower.

    - `embedding`: turns the input into the first rows (B, L, C).
    - `layers`: at least one.
    - `heads`: attention heads of a layer.
    - `activation`: between the linears of an MLP.
    - `post_norm`: a layer normalises after each residual sum (BERT); otherwise before each branch (CLIP).
    - `causal`: a token attends to itself and the tokens before it only.
    - `pooling`: which token becomes the embedding. `first`: the first one; `last`: the last one; `argmax`: the one
      with the largest id (legacy CLIP); `eos`: the first one with `eos_id`; `mean`: the mean over the attention mask;
      `attention`: what `attention_pool` makes of all.
    - `dim`: D of the embedding.
    - `eos_id`: id of the end of text, for the pooling `eos`.
    - `final_norm`: applied before the pooling, or None.
    - `projection`: applied after the pooling, or None.
    - `hidden_projection`: a linear and an exact GELU before `projection`, or None.
    - `attention_pool`: for the pooling `attention`.
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
    hidden_projection: Linear | None = None
    attention_pool: AttentionPool | None = None

    @property
    def takes_mask(self) -> bool:
        """Whether the graph has an input `attention_mask`: where a token attends to later ones, maybe padding."""
        embedding = self.embedding
        return isinstance(embedding, TokenEmbedding) and not self.causal and embedding.padding is None


@dataclass(frozen=True)
class Conv:
    """One convolution, with a ReLU6 after it or without.

    - `weight`: (outputs, inputs / groups, height, width).
    - `bias`: (outputs,).
    - `stride`: of both axes.
    - `groups`: of channels.
    - `pads`: (top, left, bottom, right).
    - `relu6`: whether a ReLU6 follows.
    """

    weight: FloatArray
    bias: FloatArray
    stride: int
    groups: int
    pads: tuple[int, int, int, int]
    relu6: bool


@dataclass(frozen=True)
class Block:
    """Convolutions in sequence; `residual` adds the block's input to its output."""

    convs: Sequence[Conv]
    residual: bool


@dataclass(frozen=True)
class ConvNet:
    """A convolutional vision tower.

    The averaged feature maps of the backbones are joined to f (B, F). The embedding is

        unit(softmax(classifier(f)) @ class_embeddings + fc2(gelu(fc1(f))))

    The first term is ConSE (Norouzi et al. 2014): the mean of the class embeddings, weighted by probability.

    - `size`: S, the edge of a picture in pixels.
    - `mean`, `std`: pixels enter as (pixel - mean) / std, in units of 0 to 255.
    - `backbones`: the blocks of each backbone.
    - `classifier`: F inputs, a logit per class.
    - `class_embeddings`: (classes, D).
    - `fc1`, `fc2`: from F inputs to D outputs.
    - `dim`: D of the embedding.
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


@dataclass(frozen=True)
class PixelInput:
    """The input of a ready vision graph.

    - `name`: of its tensor.
    - `size`: S, the edge of a picture in pixels.
    - `mean`, `std`: (3,), applied to pixels scaled to [0, 1], which enter as float32 (B, 3, S, S). None where the graph
      takes uint8 (B, S, S, 3) itself.
    """

    name: str
    size: int
    mean: FloatArray | None
    std: FloatArray | None


@dataclass(frozen=True)
class TokenInput:
    """The inputs of a ready text graph.

    - `ids`, `mask`, `types`: names of its tensors (B, L): token ids, attention mask and token types, which are all 0.
      None where it takes none.
    - `int32`: whether they are int32; otherwise int64.
    - `padding`: of a graph that takes one length only; None for texts of any length.
    """

    ids: str
    mask: str | None
    types: str | None
    int32: bool
    padding: Padding | None


@dataclass(frozen=True)
class OnnxTower:
    """A tower whose network is a ready ONNX graph, as another exporter wrote it.

    - `nodes`: of ONNX, in order.
    - `constants`: arrays by the names that the nodes give them.
    - `opset`: of the nodes.
    - `input`: what the network takes.
    - `output`: the tensor (B, D) of the features, of any norm.
    - `dim`: D.
    - `single`: whether the network takes one input at a time only.
    """

    nodes: Sequence[Any]
    constants: Mapping[str, np.ndarray[Any, Any]]
    opset: int
    input: PixelInput | TokenInput
    output: str
    dim: int
    single: bool


Tower: TypeAlias = Transformer | ConvNet | OnnxTower


class ReferenceModel(Protocol):
    """The original model in torch, with which the graphs are compared."""

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of right-padded `input_ids` (B, L) with `mask` (B, L)."""

    def in_double(self) -> ReferenceModel | None:
        """Return a copy that computes in fp64, or None where the model has none."""


class LibraryPipeline(Protocol):
    """The way of the checkpoint's own library from pictures and texts to embeddings, in torch."""

    def embed_images(self, pictures: Sequence[Image.Image]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pictures."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of texts."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    - `family`: the model family, as the manifest names it.
    - `source`: where the checkpoint comes from, with the hashes of its weights; goes into the manifest.
    - `licence`: its licence, "unknown" where the checkpoint names none.
    - `image_spec`, `text_spec`: how pictures and texts are prepared.
    - `vision`, `text`: the two towers.
    - `tokenizer_json`: the text of `tokenizer.json`.
    - `reference`: the original model.
    - `pipeline`: the original's whole way, with which the artifact is compared; None where its library has none.
    - `logits`: the trained `scale` and `bias` by which a cosine becomes the logit of a match; empty where a model has
      none.
    - `probes`: the texts whose embeddings are compared with the library's; empty for those of `measure.end_to_end`.

    Raises ExportError where the towers have different dimensions.
    """

    family: str
    source: Mapping[str, Any]
    licence: str
    image_spec: ImageSpec
    text_spec: TextSpec
    vision: Tower
    text: Tower
    tokenizer_json: str
    reference: ReferenceModel
    pipeline: LibraryPipeline | None = None
    logits: Mapping[str, float] = field(default_factory=dict)
    probes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.vision.dim != self.text.dim:
            raise ExportError(
                f"{self.family}: expected embeddings of one dimension, found {self.vision.dim} of pictures and "
                f"{self.text.dim} of texts"
            )
