"""onnxruntime alone: the plain export after `quantize_dynamic`, as most int8 models on model hubs are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import Call, Contender, Job, Task, normalise_pixels, to_unit_norm
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, build_once


class OrtDynamic(Contender):
    """QInt8 weights with a scale per channel; ranges of activations are computed at run time."""

    name = "ort-dynamic-int8"
    description = "onnxruntime quantize_dynamic, int8"
    requires = REQUIRES

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Both towers."""
        return {"image": self.image, "text": self.text}

    def prepare(self, subject: Subject) -> None:
        """Quantise both towers of the plain export."""
        with build_once(subject.prepared_folder(self.name)) as folder:
            if folder is None:
                return
            from onnxruntime.quantization import QuantType, quantize_dynamic

            for tower in ("vision", "text"):
                source = plain_export(subject) / tower / "model.onnx"
                quantize_dynamic(source, folder / f"{tower}.onnx", weight_type=QuantType.QInt8, per_channel=True)

    def image(self, job: Job) -> Call:
        """Normalisation by NumPy, the graph, the norm."""
        session = self._session(job, "vision")

        def call(pixels: Pixels) -> Array:
            outputs = session.run(["image_embeds"], {"pixel_values": normalise_pixels(pixels)})
            return to_unit_norm(np.asarray(outputs[0]))

        return call

    def text(self, job: Job) -> Call:
        """The graph, the norm."""
        session = self._session(job, "text")

        def call(ids: TokenIds) -> Array:
            return to_unit_norm(np.asarray(session.run(["text_embeds"], {"input_ids": ids})[0]))

        return call

    def _session(self, job: Job, tower: str) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = job.threads
        graph = job.require_subject().prepared_folder(self.name) / f"{tower}.onnx"
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
