"""The plain ONNX export of a checkpoint by optimum-onnx, which other contenders start from."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeAlias

from clipshelf_bench.subjects.subject import Subject, build_once

REQUIRES = ("torch", "transformers", "optimum.exporters.onnx", "onnx")
FOLDER = "plain-export"
OPSET = 17

Axes: TypeAlias = dict[str, dict[int, str]]


def plain_export(subject: Subject) -> Path:
    """Export both towers of a subject, unless that was done.

    Returns a folder with these graphs, each with its config.json beside it. Both end at the projection: embeddings
    are not of unit norm.

    - vision/model.onnx: pixel_values float32 (B, 3, S, S) -> image_embeds float32 (B, D).
    - text/model.onnx: input_ids int64 (B, L) -> text_embeds float32 (B, D).

    Raises FileNotFoundError for a subject without a checkpoint.
    """
    folder = subject.prepared_folder(FOLDER)
    with build_once(folder) as target:
        if target is not None:
            _export(subject.require_checkpoint(), target)
    return folder


def _export(checkpoint: Path, folder: Path) -> None:
    from optimum.exporters.onnx import export
    from optimum.exporters.onnx.model_configs import CLIPTextWithProjectionOnnxConfig, CLIPVisionModelOnnxConfig
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    # optimum's configuration of the vision tower ends at the hidden states; naming these outputs adds the projection.
    class Vision(CLIPVisionModelOnnxConfig):  # type: ignore[misc]
        outputs: ClassVar[Axes] = {"image_embeds": {0: "batch_size"}, "last_hidden_state": {0: "batch_size"}}

    class Text(CLIPTextWithProjectionOnnxConfig):  # type: ignore[misc]
        outputs: ClassVar[Axes] = {
            "text_embeds": {0: "batch_size"},
            "last_hidden_state": {0: "batch_size", 1: "sequence_length"},
        }

    for name, architecture, configuration in (
        ("vision", CLIPVisionModelWithProjection, Vision),
        ("text", CLIPTextModelWithProjection, Text),
    ):
        model = architecture.from_pretrained(checkpoint).eval()
        (folder / name).mkdir()
        config = configuration(model.config, task="feature-extraction")
        export(model, config, folder / name / "model.onnx", opset=OPSET)
        model.config.save_pretrained(folder / name)
