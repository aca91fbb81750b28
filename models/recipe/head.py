"""The head from the backbones to the text space: the sum of ConSE and a small MLP.

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
    """Maps features (B, F) and logits (B, C) to image embeddings (B, D) of unit norm."""

    def __init__(self, classes: npt.NDArray[np.float32], *, features: int, hidden: int, beta: float, dropout: float):
        super().__init__()
        self.beta = beta
        self.classes = nn.Parameter(torch.from_numpy(classes.copy()))
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, classes.shape[1])
        self.dropout = dropout

    def conse(self, logits: Tensor) -> Tensor:
        """Return the mean (B, D) of the class embeddings, weighted by the probabilities of the classes."""
        return torch.softmax(self.beta * logits, dim=-1) @ self.classes

    def mlp(self, features: Tensor) -> Tensor:
        """Return the MLP's part of the sum, (B, D)."""
        x = F.dropout(features, self.dropout, self.training)
        x = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return self.fc2(x)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return image embeddings (B, D) of unit norm."""
        return F.normalize(self.conse(logits) + self.mlp(features), dim=-1)
