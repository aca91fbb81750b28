"""What is measured, on a GPU or in a rehearsal on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scale:
    """The sizes of a run.

    - `provider`, `torch_device`: where both sides run.
    - `half`: whether PyTorch computes in fp16.
    - `compile_options`: for `torch.compile`.
    - `batches`: of pictures and texts.
    - `compiled_batches`: those that are compiled too, since each takes a while.
    - `large_batches`: of the larger model.
    - `rows`: numbers of rows that are ranked.
    - `dim`: of these.
    - `seconds`: of one timing.
    - `model`, `large_model`: configurations of transformers' CLIP; None for ViT-B/32.
    """

    provider: str = "cuda"
    torch_device: str = "cuda"
    half: bool = True
    compile_options: Mapping[str, Any] = field(default_factory=lambda: {"mode": "reduce-overhead"})
    batches: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    compiled_batches: Sequence[int] = (1, 64)
    large_batches: Sequence[int] = (1, 16, 64)
    rows: Sequence[int] = (1_000_000, 20_000_000)
    dim: int = 512
    seconds: float = 0.7
    model: Mapping[str, Any] | None = None
    large_model: Mapping[str, Any] = field(
        default_factory=lambda: {
            "projection_dim": 768,
            "vision_config": {
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "patch_size": 14,
            },
            "text_config": {
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
            },
        }
    )


def rehearsal() -> Scale:
    """Tiny sizes, on the CPU: they show that every line runs, and their times mean nothing."""
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = tower | {"vocab_size": 3000, "max_position_embeddings": 77}
    model = {"projection_dim": 32, "text_config": text, "vision_config": tower | {"image_size": 32, "patch_size": 8}}
    return Scale(
        provider="cpu",
        torch_device="cpu",
        half=False,
        compile_options={"backend": "eager"},
        batches=(1, 2),
        compiled_batches=(1,),
        large_batches=(1,),
        rows=(5_000, 20_000),
        dim=32,
        seconds=0.05,
        model=model,
        large_model=model,
    )
