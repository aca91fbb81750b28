"""fastembed: its CLIP classes on local files of the plain export."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job, Task, to_unit_norm
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, build_once

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class Fastembed(Contender):
    """Encoded pictures and sentences to embeddings, through its public classes."""

    name = "fastembed"
    description = "fastembed's CLIP, local files, fp32"
    quick = False
    requires = (*REQUIRES, "fastembed")

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Photos and sentences: its public classes take no arrays."""
        return {"photos": self.photos, "sentences": self.sentences}

    def prepare(self, subject: Subject) -> None:
        """Copy the plain export into the folders that fastembed expects."""
        with build_once(subject.prepared_folder(self.name)) as folder:
            if folder is None:
                return
            for tower, output in (("vision", "image_embeds"), ("text", "text_embeds")):
                (folder / tower).mkdir()
                _copy_with_output(plain_export(subject) / tower / "model.onnx", folder / tower / "model.onnx", output)
                (folder / tower / "config.json").write_text("{}")
            config = json.loads((subject.require_checkpoint() / "preprocessor_config.json").read_text())
            (folder / "vision" / "preprocessor_config.json").write_text(json.dumps(config))
            for name in _TOKENIZER_FILES:
                shutil.copy(subject.require_checkpoint() / name, folder / "text")

    def photos(self, job: Job) -> Call:
        """ImageEmbedding.embed."""
        from fastembed import ImageEmbedding
        from PIL import Image

        os.environ["HF_HUB_OFFLINE"] = "1"
        model = ImageEmbedding(
            "Qdrant/clip-ViT-B-32-vision",
            threads=job.threads,
            specific_model_path=str(job.require_subject().prepared_folder(self.name) / "vision"),
        )

        def call(photos: list[bytes]) -> Array:
            return np.stack(list(model.embed([Image.open(io.BytesIO(photo)) for photo in photos])))

        return call

    def sentences(self, job: Job) -> Call:
        """TextEmbedding.embed, whose rows are not of unit norm, and the norm."""
        from fastembed import TextEmbedding

        os.environ["HF_HUB_OFFLINE"] = "1"
        model = TextEmbedding(
            "Qdrant/clip-ViT-B-32-text",
            threads=job.threads,
            specific_model_path=str(job.require_subject().prepared_folder(self.name) / "text"),
        )

        def call(sentences: list[str]) -> Array:
            return to_unit_norm(np.stack(list(model.embed(sentences))))

        return call


def _copy_with_output(source: os.PathLike[str], target: os.PathLike[str], output: str) -> None:
    """Copy a graph without its other outputs, because fastembed reads the first one."""
    import onnx

    graph = onnx.load(source)
    ports = [port for port in graph.graph.output if port.name == output]
    del graph.graph.output[:]
    graph.graph.output.extend(ports)
    onnx.save(graph, target)
