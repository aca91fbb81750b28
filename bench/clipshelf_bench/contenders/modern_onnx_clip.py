"""modern-onnx-clip: its OnnxClip class on the plain export."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job, Task
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, build_once


class ModernOnnxClip(Contender):
    """Encoded pictures and sentences to embeddings. It pads every sentence to the context of the model."""

    name = "modern-onnx-clip"
    description = "modern-onnx-clip, fp32"
    requires = (*REQUIRES, "onnx_clip")

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Photos and sentences: its public methods take no arrays."""
        return {"photos": self.photos, "sentences": self.sentences}

    def prepare(self, subject: Subject) -> None:
        """Copy the plain export into a folder of the layout that OnnxClip expects."""
        with build_once(subject.prepared_folder(self.name)) as folder:
            if folder is None:
                return
            for tower, name in (("vision", "visual"), ("text", "textual")):
                shutil.copy(plain_export(subject) / tower / "model.onnx", folder / f"{name}.onnx")
            shutil.copy(subject.require_checkpoint() / "tokenizer.json", folder)
            config = {"image_size": subject.size, "context_length": subject.tokens}
            (folder / "config.json").write_text(json.dumps(config))

    def photos(self, job: Job) -> Call:
        """OnnxClip.get_image_embedding."""
        from PIL import Image

        model = self.load_once(job, self._model)

        def call(photos: list[bytes]) -> Array:
            return np.asarray(model.get_image_embedding([Image.open(io.BytesIO(photo)) for photo in photos]))

        return call

    def sentences(self, job: Job) -> Call:
        """OnnxClip.get_text_embedding."""
        embed: Call = self.load_once(job, self._model).get_text_embedding
        return embed

    def _model(self, job: Job) -> Any:
        from onnx_clip import OnnxClip

        # It takes no number of threads and starts one per CPU of the process, so the affinity mask limits them.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
        return OnnxClip(str(job.require_subject().prepared_folder(self.name)), silent=True)
