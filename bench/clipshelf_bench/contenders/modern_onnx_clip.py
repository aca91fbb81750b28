"""modern-onnx-clip: its OnnxClip class on a folder in its own layout, made from the plain export."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, whole


class ModernOnnxClip(Contender):
    """Bytes and sentences to embeddings. It pads every sentence to the longest, and takes no thread count."""

    name = "modern-onnx-clip"
    about = "modern-onnx-clip, fp32"
    requires = (*REQUIRES, "onnx_clip")

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Its public methods take pictures and sentences."""
        return {"photos": self.photos, "sentences": self.sentences}

    def prepare(self, subject: Subject) -> None:
        """Lay the plain export out as its folder."""
        with whole(subject.prepared(self.name)) as folder:
            if folder is None:
                return
            for tower, name in (("vision", "visual"), ("text", "textual")):
                shutil.copy(plain_export(subject) / tower / "model.onnx", folder / f"{name}.onnx")
            shutil.copy(subject.source / "tokenizer.json", folder)
            config = {"image_size": subject.size, "context_length": subject.tokens}
            (folder / "config.json").write_text(json.dumps(config))

    def photos(self, job: Job) -> Call:
        """OnnxClip.get_image_embedding."""
        from PIL import Image

        model = self.once(job, self._model)

        def call(photos: list[bytes]) -> Array:
            return np.asarray(model.get_image_embedding([Image.open(io.BytesIO(photo)) for photo in photos]))

        return call

    def sentences(self, job: Job) -> Call:
        """OnnxClip.get_text_embedding."""
        embed: Call = self.once(job, self._model).get_text_embedding
        return embed

    def _model(self, job: Job) -> Any:
        from onnx_clip import OnnxClip

        # Its sessions start a thread per CPU of the process: the affinity mask is the only way to say how many.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
        return OnnxClip(str(job.model.prepared(self.name)), silent=True)
