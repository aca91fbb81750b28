"""optimum-onnx: ORTModel on the plain fp32 export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import Call, Contender, Job, Task, normalise_pixels, to_unit_norm
from clipshelf_bench.contenders.plain_export import FOLDER, REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject


class OptimumOrt(Contender):
    """ORTModelForCustomTasks, one model for each tower."""

    name = "optimum-ort-fp32"
    description = "optimum-onnx ORTModel, fp32"
    quick = False
    requires = (*REQUIRES, "optimum.onnxruntime")

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Both towers."""
        return {"image": self.image, "text": self.text}

    def prepare(self, subject: Subject) -> None:
        """Make the plain export."""
        plain_export(subject)

    def shipped_folder(self, subject: Subject) -> Path:
        """The plain export."""
        return subject.prepared_folder(FOLDER)

    def image(self, job: Job) -> Call:
        """Normalisation by NumPy, ORTModel, the norm."""
        model = self._model(job, "vision")

        def call(pixels: Pixels) -> Array:
            return to_unit_norm(model(pixel_values=normalise_pixels(pixels))["image_embeds"])

        return call

    def text(self, job: Job) -> Call:
        """ORTModel, the norm."""
        model = self._model(job, "text")

        def call(ids: TokenIds) -> Array:
            return to_unit_norm(model(input_ids=ids)["text_embeds"])

        return call

    def _model(self, job: Job, tower: str) -> Any:
        import onnxruntime as ort
        from optimum.onnxruntime import ORTModelForCustomTasks

        options = ort.SessionOptions()
        options.intra_op_num_threads = job.threads
        # I/O binding is for CUDA; a model with binding does not take NumPy arrays.
        return ORTModelForCustomTasks.from_pretrained(
            plain_export(job.require_subject()) / tower, session_options=options, use_io_binding=False
        )
