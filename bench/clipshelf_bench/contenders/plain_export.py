"""The plain ONNX export of a checkpoint by optimum-onnx, which several contenders start from."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeAlias

from clipshelf_bench.subjects.subject import Subject, whole

REQUIRES = ("torch", "transformers", "optimum.exporters.onnx", "onnx")
OPSET = 17

Axes: TypeAlias = dict[str, dict[int, str]]


def plain_export(subject: Subject) -> Path:
    """Folder with vision/model.onnx and text/model.onnx, each with its config.json beside it; made once.

    vision: pixel_values float32 (B, 3, S, S) -> image_embeds. text: input_ids int64 (B, L) -> text_embeds. Both end at
    the projection, without the norm.
    """
    folder = subject.prepared("plain-export")
    with whole(folder) as target:
        if target is not None:
            _export(subject.source, target)
    return folder


def _export(checkpoint: Path, folder: Path) -> None:
    from optimum.exporters.onnx import export
    from optimum.exporters.onnx.model_configs import CLIPTextWithProjectionOnnxConfig, CLIPVisionModelOnnxConfig
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    # optimum's own configurations stop at the hidden states of the vision tower; the outputs are named to go on.
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
