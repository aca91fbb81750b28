"""optimum-onnx: ORTModel on the plain fp32 export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import Call, Contender, Job, normalise, unit
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject


class OptimumOrt(Contender):
    """As optimum's users run it."""

    name = "optimum-ort-fp32"
    about = "optimum-onnx ORTModel, fp32"
    quick = False
    requires = (*REQUIRES, "optimum.onnxruntime")

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """The towers."""
        return {"image": self.image, "text": self.text}

    def prepare(self, subject: Subject) -> None:
        """Make the plain export."""
        plain_export(subject)

    def disk(self, subject: Subject) -> Path:
        """The plain export."""
        return subject.prepared("plain-export")

    def image(self, job: Job) -> Call:
        """Normalisation by NumPy, ORTModel, the norm."""
        model = self._model(job, "vision")

        def call(pixels: Pixels) -> Array:
            return unit(model(pixel_values=normalise(pixels))["image_embeds"])

        return call

    def text(self, job: Job) -> Call:
        """ORTModel, the norm."""
        model = self._model(job, "text")

        def call(ids: TokenIds) -> Array:
            return unit(model(input_ids=ids)["text_embeds"])

        return call

    def _model(self, job: Job, tower: str) -> Any:
        import onnxruntime as ort
        from optimum.onnxruntime import ORTModelForCustomTasks

        options = ort.SessionOptions()
        options.intra_op_num_threads = job.threads
        # Binding is for CUDA; with it the model refuses NumPy.
        return ORTModelForCustomTasks.from_pretrained(
            plain_export(job.model) / tower, session_options=options, use_io_binding=False
        )
