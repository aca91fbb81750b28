"""A query with every kind of signal, its weights, and the catalogue that it is for."""

from __future__ import annotations

from typing import Any

from support import tiny

DIM, COUNT = 16, 120  # of the embeddings, and of the products
NOW = 1_800_000_000.0
DAY = 86_400.0
SIGNALS: dict[str, Any] = {
    "text": ["red shoe", "warm watch"],
    "image": tiny.picture("blue"),
    "liked": ["3", ("9", 2.5)],
    "disliked": [("4", 0.5)],
    "history": [("5", "viewed", NOW), ("5", "viewed", NOW - 30 * DAY), ("7", "rated", NOW - 60 * DAY, 1)],
    "now": NOW,
}
WEIGHTS = {"liked": 0.7, "text": 2.0, "text_text": 1.5, "image_text": 0.1}
