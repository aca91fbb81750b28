"""OpenVINO on the plain export: fp32, bf16, and int8 by NNCF with its preset for transformers.

mean and std go into the graph by OpenVINO's own PrePostProcessor, so that it too takes uint8 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import MEAN, STD, Call, Contender, Job, normalise, unit
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, whole

_INPUTS = {"vision": "pixel_values", "text": "input_ids"}
_OUTPUTS = {"vision": "image_embeds", "text": "text_embeds"}
_CALIBRATION = 128
_CALIBRATION_SEED = 7


class OpenVinoFloat(Contender):
    """The fp32 graph, its weights kept in fp16 on disk, as OpenVINO saves them."""

    name: ClassVar[str] = "openvino-fp32"
    about = "OpenVINO, fp32"
    quick = False
    requires: ClassVar[tuple[str, ...]] = (*REQUIRES, "openvino")
    files: ClassVar[str] = "openvino-fp32"
    options: ClassVar[Mapping[str, str]] = {"INFERENCE_PRECISION_HINT": "f32"}

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """The towers."""
        return {"image": self.image, "text": self.text}

    def prepare(self, subject: Subject) -> None:
        """Convert both towers."""
        with whole(self.disk(subject)) as folder:
            if folder is None:
                return
            import openvino as ov

            for tower in _INPUTS:
                model = ov.convert_model(plain_export(subject) / tower / "model.onnx")
                model = self.quantise(model, tower, subject)
                ov.save_model(_take_pixels(model) if tower == "vision" else model, folder / f"{tower}.xml")

    def disk(self, subject: Subject) -> Path:
        """The converted towers."""
        return subject.prepared(self.files)

    def quantise(self, model: Any, tower: str, subject: Subject) -> Any:
        """The model as it is; the int8 variant overrides this."""
        del tower, subject
        return model

    def image(self, job: Job) -> Call:
        """The graph from uint8 pixels, the norm."""
        request, output = self._request(job, "vision")

        def call(pixels: Pixels) -> Array:
            return unit(request.infer({"pixel_values": pixels}, share_inputs=True)[output])

        return call

    def text(self, job: Job) -> Call:
        """The graph, the norm."""
        request, output = self._request(job, "text")

        def call(ids: TokenIds) -> Array:
            return unit(request.infer({"input_ids": ids}, share_inputs=True)[output])

        return call

    def _request(self, job: Job, tower: str) -> tuple[Any, Any]:
        import openvino as ov

        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads, **self.options}
        path = self.disk(job.model) / f"{tower}.xml"
        compiled = ov.Core().compile_model(path, "CPU", options)
        return compiled.create_infer_request(), compiled.output(_OUTPUTS[tower])


class OpenVinoHalf(OpenVinoFloat):
    """The same files, computed in bf16 where the processor can."""

    name = "openvino-bf16"
    about = "OpenVINO, bf16"
    quick = False
    needs_bf16 = True
    options: ClassVar[Mapping[str, str]] = {"INFERENCE_PRECISION_HINT": "bf16"}


class OpenVinoInt8(OpenVinoFloat):
    """Post-training quantisation by NNCF, calibrated on pictures and sentences made like the measured ones."""

    name = "openvino-int8"
    about = "OpenVINO, int8 by NNCF"
    quick = True
    requires = (*OpenVinoFloat.requires, "nncf")
    files = "openvino-int8"
    options: ClassVar[Mapping[str, str]] = {}

    def quantise(self, model: Any, tower: str, subject: Subject) -> Any:
        """nncf.quantize with the transformer preset."""
        import nncf

        from clipshelf_bench.datasets.inputs import pixels as make_pixels
        from clipshelf_bench.datasets.inputs import token_ids
        from clipshelf_bench.subjects.checkpoint import vocabulary

        if tower == "vision":
            pictures = make_pixels(_CALIBRATION, subject.size, _CALIBRATION_SEED)
            data: list[Any] = [normalise(pictures[i : i + 1]) for i in range(len(pictures))]
        else:
            words = vocabulary(subject.source)
            data = [token_ids(1, 4 + i % 24, words, _CALIBRATION_SEED + i) for i in range(_CALIBRATION)]
        dataset = nncf.Dataset(data, lambda row: {_INPUTS[tower]: row})
        return nncf.quantize(
            model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=_CALIBRATION, fast_bias_correction=True
        )


def _take_pixels(model: Any) -> Any:
    """Fold uint8 (B, S, S, 3) input, mean and std into the vision graph."""
    import openvino as ov

    steps = ov.preprocess.PrePostProcessor(model)
    pixels = steps.input("pixel_values")
    pixels.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    pixels.preprocess().convert_element_type(ov.Type.f32).mean(list(255 * MEAN)).scale(list(255 * STD))
    pixels.model().set_layout(ov.Layout("NCHW"))
    return steps.build()
