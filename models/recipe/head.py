"""From the backbone to the text space: ConSE plus a small MLP, summed.

B batch, F = 2560 pooled features, C = 1000 classes, D = 384, H hidden.

    p = softmax(beta * logits)                                      (B, C)
    z = p @ classes + gain * (gelu(f @ W1 + b1) @ W2 + b2)          (B, D)
    image_embeds = z / |z|
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """Features (B, F) and logits (B, C) -> unit-norm image embeddings (B, D)."""

    def __init__(self, classes: npt.NDArray[np.float32], *, features: int, hidden: int, beta: float, dropout: float):
        super().__init__()
        self.beta = beta
        self.classes = nn.Parameter(torch.from_numpy(classes.copy()))
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, classes.shape[1])
        self.dropout = dropout

    def conse(self, logits: Tensor) -> Tensor:
        """The average (B, D) of the classes' embeddings, as likely as the classifier finds them."""
        return torch.softmax(self.beta * logits, dim=-1) @ self.classes

    def mlp(self, features: Tensor) -> Tensor:
        """What the MLP adds (B, D)."""
        x = F.dropout(features, self.dropout, self.training)
        x = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return self.fc2(x)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Image embeddings (B, D), unit norm."""
        return F.normalize(self.conse(logits) + self.mlp(features), dim=-1)
