"""docs/models.md is what its script makes, and has each family that the export reads."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import models_page
import torch
import transformers
from clipshelf_export.checkpoints.load import LOADERS
from published_models import MODELS


def test_the_page_is_current() -> None:
    page = models_page.PAGE.read_text(encoding="utf-8")
    assert page == models_page.render(), "docs/models.md: run python tests/export/models_page.py"


def test_the_page_has_each_family() -> None:
    families = {model.family for model in MODELS}
    assert families == {*LOADERS, "open_clip", "clip+distilbert"}


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_weights_are_counted_as_the_library_has_them(family: str) -> None:
    hugging: Any = transformers  # only half typed
    model = next(model for model in MODELS if model.family == family)
    vision, text = model.vision, model.text
    config_class = hugging.CLIPConfig if family == "clip" else hugging.SiglipConfig
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2}
    settings = config_class(
        vision_config={**sizes, "hidden_size": vision.width, "intermediate_size": 4 * vision.width,
                       "image_size": vision.size, "patch_size": vision.patch},
        text_config={**sizes, "hidden_size": text.width, "intermediate_size": 4 * text.width,
                     "vocab_size": text.vocabulary, "max_position_embeddings": text.context},
        projection_dim=model.dim,
    )  # fmt: skip
    with torch.device("meta"):
        made = (hugging.CLIPModel if family == "clip" else hugging.SiglipModel)(settings)
    layers = (vision.layers - 1) * (12 * vision.width**2 + 13 * vision.width)
    layers += (text.layers - 1) * (12 * text.width**2 + 13 * text.width)
    expected = sum(value.numel() for value in made.parameters()) + layers
    counted = models_page.count_vision(vision, model.dim) + models_page.count_text(text, model.dim)
    assert counted == pytest.approx(expected, rel=1e-4)
