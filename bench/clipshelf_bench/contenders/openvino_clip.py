"""OpenVINO on the plain export: fp32, bf16, and int8 by NNCF with its preset for transformers.

OpenVINO's PrePostProcessor puts CLIP's mean and standard deviation into the vision graph, which then takes uint8
pixels, as clipshelf's does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import MEAN, STD, Call, Contender, Job, Task, normalise_pixels, to_unit_norm
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, build_once

_INPUTS = {"vision": "pixel_values", "text": "input_ids"}
_OUTPUTS = {"vision": "image_embeds", "text": "text_embeds"}
_CALIBRATION_SAMPLES = 128
_CALIBRATION_SEED = 7


class OpenVinoFloat(Contender):
    """The fp32 graph, whose weights are fp16 on disk, which is how OpenVINO saves them."""

    name: ClassVar[str] = "openvino-fp32"
    description = "OpenVINO, fp32"
    quick = False
    requires: ClassVar[tuple[str, ...]] = (*REQUIRES, "openvino")
    files: ClassVar[str] = "openvino-fp32"
    options: ClassVar[Mapping[str, str]] = {"INFERENCE_PRECISION_HINT": "f32"}

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Both towers."""
        return {"image": self.image, "text": self.text}

    def prepare(self, subject: Subject) -> None:
        """Convert both towers of the plain export."""
        with build_once(self.shipped_folder(subject)) as folder:
            if folder is None:
                return
            import openvino as ov

            for tower in _INPUTS:
                model = ov.convert_model(plain_export(subject) / tower / "model.onnx")
                model = self.quantise(model, tower, subject)
                ov.save_model(_take_pixels(model) if tower == "vision" else model, folder / f"{tower}.xml")

    def shipped_folder(self, subject: Subject) -> Path:
        """The converted towers."""
        return subject.prepared_folder(self.files)

    def quantise(self, model: Any, tower: str, subject: Subject) -> Any:
        """Returns the model unchanged; the int8 variant overrides this."""
        del tower, subject
        return model

    def image(self, job: Job) -> Call:
        """The graph from uint8 pixels, the norm."""
        request, output = self._request(job, "vision")

        def call(pixels: Pixels) -> Array:
            return to_unit_norm(request.infer({"pixel_values": pixels}, share_inputs=True)[output])

        return call

    def text(self, job: Job) -> Call:
        """The graph, the norm."""
        request, output = self._request(job, "text")

        def call(ids: TokenIds) -> Array:
            return to_unit_norm(request.infer({"input_ids": ids}, share_inputs=True)[output])

        return call

    def _request(self, job: Job, tower: str) -> tuple[Any, Any]:
        import openvino as ov

        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads, **self.options}
        path = self.shipped_folder(job.require_subject()) / f"{tower}.xml"
        compiled = ov.Core().compile_model(path, "CPU", options)
        return compiled.create_infer_request(), compiled.output(_OUTPUTS[tower])


class OpenVinoHalf(OpenVinoFloat):
    """The same files, computed in bf16."""

    name = "openvino-bf16"
    description = "OpenVINO, bf16"
    quick = False
    needs_bf16 = True
    options: ClassVar[Mapping[str, str]] = {"INFERENCE_PRECISION_HINT": "bf16"}


class OpenVinoInt8(OpenVinoFloat):
    """Post-training quantisation by NNCF, calibrated on pictures and sentences made like the measured ones."""

    name = "openvino-int8"
    description = "OpenVINO, int8 by NNCF"
    quick = True
    requires = (*OpenVinoFloat.requires, "nncf")
    files = "openvino-int8"
    options: ClassVar[Mapping[str, str]] = {}

    def quantise(self, model: Any, tower: str, subject: Subject) -> Any:
        """Quantise with `nncf.quantize` and its preset for transformers."""
        import nncf

        from clipshelf_bench.datasets.inputs import random_pixels, random_token_ids
        from clipshelf_bench.subjects.checkpoint import vocabulary_size

        if tower == "vision":
            pictures = random_pixels(_CALIBRATION_SAMPLES, subject.size, _CALIBRATION_SEED)
            data: list[Any] = [normalise_pixels(pictures[i : i + 1]) for i in range(len(pictures))]
        else:
            words = vocabulary_size(subject.require_checkpoint())
            lengths = (4 + i % 24 for i in range(_CALIBRATION_SAMPLES))
            data = [random_token_ids(1, length, words, _CALIBRATION_SEED + i) for i, length in enumerate(lengths)]
        dataset = nncf.Dataset(data, lambda row: {_INPUTS[tower]: row})
        return nncf.quantize(
            model,
            dataset,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=_CALIBRATION_SAMPLES,
            fast_bias_correction=True,
        )


class OpenVinoInt8Vnni(OpenVinoInt8):
    """The same files with AVX512-VNNI at most: on a CPU with AMX, what the peer reaches on the CPUs without it."""

    name = "openvino-int8-vnni"
    description = "OpenVINO, int8 by NNCF, AVX512-VNNI at most"
    quick = False

    def _request(self, job: Job, tower: str) -> tuple[Any, Any]:
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"  # read when a process of this contender loads OpenVINO
        return super()._request(job, tower)


def _take_pixels(model: Any) -> Any:
    """Make the vision graph take uint8 (B, S, S, 3), and put mean and standard deviation into it."""
    import openvino as ov

    steps = ov.preprocess.PrePostProcessor(model)
    pixels = steps.input("pixel_values")
    pixels.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    pixels.preprocess().convert_element_type(ov.Type.f32).mean(list(255 * MEAN)).scale(list(255 * STD))
    pixels.model().set_layout(ov.Layout("NCHW"))
    return steps.build()
