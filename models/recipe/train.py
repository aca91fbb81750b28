"""Teaches the head on cached features by a soft contrastive loss, with whole concepts held out.

N pictures, V views, T different captions, F features, D = 384.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .head import Head
from .sources import Picture
from .text import TextEncoder


@dataclass(frozen=True)
class Settings:
    """What validation chose (see the card). `class_decay` pulls the class embeddings back to their names'."""

    hidden: int = 640
    beta: float = 1.3
    dropout: float = 0.3
    epochs: int = 14
    batch: int = 512
    rate: float = 1e-3
    weight_decay: float = 0.05
    temperature: float = 0.05
    class_decay: float = 10.0
    norm_decay: float = 0.1
    imagined: float = 0.25
    margin: float = 12.0
    seed: int = 0


@dataclass(frozen=True)
class Dataset:
    """Features (V, N, F); captions (T, D); the row of each picture's caption (N,)."""

    features: npt.NDArray[np.float16]
    captions: npt.NDArray[np.float32]
    own: npt.NDArray[np.int64]


def held_out(pictures: list[Picture], share: float = 0.15) -> npt.NDArray[np.bool_]:
    """(N,) True where the picture's concept is for validation, by a hash of the concept."""
    digests = [hashlib.sha256(picture.concept.encode()).digest()[0] for picture in pictures]
    return np.asarray([digest < 256 * share for digest in digests])


def dataset(pictures: list[Picture], features: npt.NDArray[np.float16], encode: TextEncoder) -> Dataset:
    """The bank of captions is every picture's first."""
    bank = sorted({picture.captions[0] for picture in pictures})
    rows = {text: i for i, text in enumerate(bank)}
    own = np.asarray([rows[picture.captions[0]] for picture in pictures])
    return Dataset(features, encode(bank), own)


class Imagined:
    """Features as photographs of an ImageNet class might have them, for the MLP to learn what the classifier knows.

    Were the classes Gaussian with one covariance S, the classifier's weights would be S^-1 (mean_c - mean), so that
    mean_c = mean + S w_c (linear discriminant analysis); S is measured on drawings, in want of photographs. A sample
    lies between such a mean and a drawing's features, which lend it the noise of a real picture.
    """

    def __init__(self, features: npt.NDArray[np.float32], classifier: nn.Linear, margin: float):
        """`features` (n, F) of drawings; `margin` is how far above its mean the class's own logit is put."""
        x = torch.from_numpy(features)
        covariance, weight = torch.cov(x.T), classifier.weight.detach()
        towards = (weight - weight.mean(0)) @ covariance
        reach = (towards * weight).sum(dim=1, keepdim=True)
        self.means = x.mean(0) + towards * (margin / reach)

    def sample(self, features: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Drawings (B, F) -> imagined features (B, F) and their classes (B,)."""
        classes = torch.from_numpy(rng.integers(0, len(self.means), size=len(features)))
        share = torch.from_numpy(rng.uniform(0.4, 1.0, size=(len(features), 1)).astype(np.float32))
        return (share * self.means[classes] + (1 - share) * features).clamp(min=0), classes


class Lesson:
    """What is shown, and what should be found: views of pictures and imagined photographs against a bank of texts.

    The bank is the captions of the chosen pictures and the names of the classes. The target of a picture is what its
    own caption finds there, so that captions that mean the same are not driven apart.
    """

    def __init__(
        self, data: Dataset, chosen: npt.NDArray[np.bool_], classifier: nn.Linear, classes: npt.NDArray[np.float32],
        settings: Settings,
    ):  # fmt: skip
        self.data, self.classifier, self.settings = data, classifier, settings
        self.rows = np.flatnonzero(chosen)
        self.bank = torch.from_numpy(np.concatenate([data.captions[np.unique(data.own[self.rows])], classes]))
        meanings = torch.from_numpy(np.concatenate([data.captions[data.own[self.rows]], classes]))
        self.wanted = torch.softmax(meanings @ self.bank.T / settings.temperature, dim=-1)
        self.imagined = Imagined(data.features[0, self.rows].astype(np.float32), classifier, settings.margin)
        self.steps = settings.epochs * (len(self.rows) // settings.batch)

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Features (B, F), logits (B, C) and targets (B, T) of one epoch."""
        size = self.settings.batch
        order = rng.permutation(len(self.rows))
        for at in range(0, len(order) - size + 1, size):
            batch = order[at : at + size]
            view = rng.integers(0, len(self.data.features), size=size)
            drawn = torch.from_numpy(self.data.features[view, self.rows[batch]].astype(np.float32))
            photos, of = self.imagined.sample(drawn[: int(size * self.settings.imagined)], rng)
            features = torch.cat([drawn, photos])
            which = torch.cat([torch.from_numpy(batch), len(self.rows) + of])
            with torch.no_grad():
                logits = self.classifier(features)
            yield features, logits, self.wanted[which]


def train(
    data: Dataset, chosen: npt.NDArray[np.bool_], classifier: nn.Linear, classes: npt.NDArray[np.float32],
    settings: Settings,
) -> Head:  # fmt: skip
    """A head taught on the `chosen` pictures (N,), starting from ConSE alone; `classes` (C, D) are unit-norm."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    # Centred, so that a classifier that finds no class likely says nothing, instead of "some thing or other".
    centred, width = classes - classes.mean(0), data.features.shape[2]
    head = Head(centred, features=width, hidden=settings.hidden, beta=settings.beta, dropout=settings.dropout)
    start = head.classes.detach().clone()
    lesson = Lesson(data, chosen, classifier, classes, settings)
    mlp = [*head.fc1.parameters(), *head.fc2.parameters()]
    groups: list[dict[str, Any]] = [{"params": mlp}, {"params": [head.classes], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=lesson.steps, pct_start=0.1)
    for _ in range(settings.epochs):
        for features, logits, wanted in lesson.batches(rng):
            spoken = head.mlp(features)
            found = F.normalize(head.conse(logits) + spoken, dim=-1) @ lesson.bank.T / settings.temperature
            loss = F.cross_entropy(found, wanted)
            loss = loss + settings.class_decay * (head.classes - start).pow(2).sum(dim=1).mean()
            loss = loss + settings.norm_decay * spoken.pow(2).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return head.eval()


@torch.inference_mode()
def embed(
    head: Head, classifier: nn.Linear, features: npt.NDArray[np.floating], part: str = "sum"
) -> npt.NDArray[np.float32]:
    """Image embeddings (n, D) of features (n, F), by the whole head or by one part ("conse", "mlp") of it."""
    x = torch.from_numpy(np.asarray(features, dtype=np.float32))
    if part == "sum":
        return np.asarray(head(x, classifier(x)).numpy())
    alone = head.conse(classifier(x)) if part == "conse" else head.mlp(x)
    return np.asarray(F.normalize(alone, dim=-1).numpy())
