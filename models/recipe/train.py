"""Trains the head on cached features by a soft contrastive loss, with whole concepts held out.

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
    """Settings of the training, as validation chose them (models/README.md).

    - `hidden`, `beta`, `dropout`: of the head.
    - `temperature`: of the loss and its targets.
    - `class_decay`: pulls the class embeddings back to those of the names.
    - `norm_decay`: keeps the MLP's part small.
    - `synthetic_share`: synthetic photos, as a share of a batch.
    - `margin`: how far above its mean the logit of a synthetic photo's class is put.
    """

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
    synthetic_share: float = 0.25
    margin: float = 12.0
    seed: int = 0


@dataclass(frozen=True)
class Dataset:
    """The training data.

    - `features`: (V, N, F).
    - `captions`: (T, D).
    - `caption_rows`: (N,) the row in `captions` of each picture's caption.
    """

    features: npt.NDArray[np.float16]
    captions: npt.NDArray[np.float32]
    caption_rows: npt.NDArray[np.int64]


def held_out(pictures: list[Picture], share: float = 0.15) -> npt.NDArray[np.bool_]:
    """Return (N,) true for the pictures whose concept is held out for validation, chosen by a hash of the concept."""
    digests = [hashlib.sha256(picture.concept.encode()).digest()[0] for picture in pictures]
    return np.asarray([digest < 256 * share for digest in digests])


def dataset(pictures: list[Picture], features: npt.NDArray[np.float16], encode: TextEncoder) -> Dataset:
    """Make the training data of pictures and their features (V, N, F), with the first caption of each."""
    captions = sorted({picture.captions[0] for picture in pictures})
    rows = {text: i for i, text in enumerate(captions)}
    caption_rows = np.asarray([rows[picture.captions[0]] for picture in pictures])
    return Dataset(features, encode(captions), caption_rows)


class SyntheticPhotos:
    """Features like those of photographs of an ImageNet class, from which the MLP learns what the classifier knows.

    If the classes were Gaussian with one covariance S, the weights of the classifier would be S^-1 (mean_c - mean), so
    that mean_c = mean + S w_c (linear discriminant analysis). S is measured on drawings, because there are no
    photographs. A sample lies between such a mean and the features of a drawing, which add the noise of a picture.

    - `features`: (n, F) of drawings.
    - `margin`: how far above its mean the logit of the class is put.
    """

    def __init__(self, features: npt.NDArray[np.float32], classifier: nn.Linear, margin: float):
        x = torch.from_numpy(features)
        covariance, weight = torch.cov(x.T), classifier.weight.detach()
        directions = (weight - weight.mean(0)) @ covariance
        logit_gains = (directions * weight).sum(dim=1, keepdim=True)
        self.means = x.mean(0) + directions * (margin / logit_gains)

    def sample(self, features: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return synthetic features (B, F) and their classes (B,), from the features (B, F) of drawings."""
        classes = torch.from_numpy(rng.integers(0, len(self.means), size=len(features)))
        share = torch.from_numpy(rng.uniform(0.4, 1.0, size=(len(features), 1)).astype(np.float32))
        return (share * self.means[classes] + (1 - share) * features).clamp(min=0), classes


class TrainingBatches:
    """Batches of views of pictures and of synthetic photos, with their targets over a bank of T texts.

    The bank has the captions of the chosen pictures and the names of the classes. The target of a picture is the
    softmax of its caption's similarities to the bank, so that captions of the same meaning are not driven apart.
    """

    def __init__(
        self, data: Dataset, chosen: npt.NDArray[np.bool_], classifier: nn.Linear, classes: npt.NDArray[np.float32],
        settings: Settings,
    ):  # fmt: skip
        self.data, self.classifier, self.settings = data, classifier, settings
        self.rows = np.flatnonzero(chosen)
        self.bank = torch.from_numpy(np.concatenate([data.captions[np.unique(data.caption_rows[self.rows])], classes]))
        texts = torch.from_numpy(np.concatenate([data.captions[data.caption_rows[self.rows]], classes]))
        self.targets = torch.softmax(texts @ self.bank.T / settings.temperature, dim=-1)
        self.synthetic = SyntheticPhotos(data.features[0, self.rows].astype(np.float32), classifier, settings.margin)
        self.steps = settings.epochs * (len(self.rows) // settings.batch)

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield features (B, F), logits (B, C) and targets (B, T) of one epoch."""
        size = self.settings.batch
        order = rng.permutation(len(self.rows))
        for start in range(0, len(order) - size + 1, size):
            batch = order[start : start + size]
            view = rng.integers(0, len(self.data.features), size=size)
            drawn = torch.from_numpy(self.data.features[view, self.rows[batch]].astype(np.float32))
            photos, photo_classes = self.synthetic.sample(drawn[: int(size * self.settings.synthetic_share)], rng)
            features = torch.cat([drawn, photos])
            target_rows = torch.cat([torch.from_numpy(batch), len(self.rows) + photo_classes])
            with torch.no_grad():
                logits = self.classifier(features)
            yield features, logits, self.targets[target_rows]


def train(
    data: Dataset, chosen: npt.NDArray[np.bool_], classifier: nn.Linear, classes: npt.NDArray[np.float32],
    settings: Settings,
) -> Head:  # fmt: skip
    """Train a head, starting from ConSE alone.

    - `chosen`: (N,) true for the pictures to train on.
    - `classifier`: of the backbones, (B, F) to (B, C).
    - `classes`: (C, D) class embeddings of unit norm.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    # Centred, so that where no class is likely, ConSE adds nearly nothing instead of the mean of all classes.
    centred, width = classes - classes.mean(0), data.features.shape[2]
    head = Head(centred, features=width, hidden=settings.hidden, beta=settings.beta, dropout=settings.dropout)
    start = head.classes.detach().clone()
    training = TrainingBatches(data, chosen, classifier, classes, settings)
    mlp = [*head.fc1.parameters(), *head.fc2.parameters()]
    groups: list[dict[str, Any]] = [{"params": mlp}, {"params": [head.classes], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=training.steps, pct_start=0.1)
    for _ in range(settings.epochs):
        for features, logits, targets in training.batches(rng):
            mlp_part = head.mlp(features)
            embeds = F.normalize(head.conse(logits) + mlp_part, dim=-1)
            loss = F.cross_entropy(embeds @ training.bank.T / settings.temperature, targets)
            loss = loss + settings.class_decay * (head.classes - start).pow(2).sum(dim=1).mean()
            loss = loss + settings.norm_decay * mlp_part.pow(2).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return head.eval()


@torch.inference_mode()
def embed(
    head: Head, classifier: nn.Linear, features: npt.NDArray[np.floating], part: str = "sum"
) -> npt.NDArray[np.float32]:
    """Embed features (n, F) to image embeddings (n, D) of unit norm.

    - `part`: "sum" for the whole head, "conse" or "mlp" for one part of it.
    """
    x = torch.from_numpy(np.asarray(features, dtype=np.float32))
    if part == "sum":
        return np.asarray(head(x, classifier(x)).numpy())
    embeds = head.conse(classifier(x)) if part == "conse" else head.mlp(x)
    return np.asarray(F.normalize(embeds, dim=-1).numpy())
