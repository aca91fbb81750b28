"""fastembed: its CLIP classes, pointed at local files of the plain export."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job, unit
from clipshelf_bench.contenders.plain_export import REQUIRES, plain_export
from clipshelf_bench.subjects.subject import Subject, whole

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class Fastembed(Contender):
    """Bytes and sentences to embeddings, as its users call it."""

    name = "fastembed"
    about = "fastembed's CLIP, local files, fp32"
    quick = False
    requires = (*REQUIRES, "fastembed")

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Its public functions take pictures and sentences, not arrays of a tower."""
        return {"photos": self.photos, "sentences": self.sentences}

    def prepare(self, subject: Subject) -> None:
        """Lay the plain export out as fastembed's model folders."""
        with whole(subject.prepared(self.name)) as folder:
            if folder is None:
                return
            for tower, output in (("vision", "image_embeds"), ("text", "text_embeds")):
                (folder / tower).mkdir()
                _only_output(plain_export(subject) / tower / "model.onnx", folder / tower / "model.onnx", output)
                (folder / tower / "config.json").write_text("{}")
            config = json.loads((subject.source / "preprocessor_config.json").read_text())
            (folder / "vision" / "preprocessor_config.json").write_text(json.dumps(config))
            for name in _TOKENIZER_FILES:
                shutil.copy(subject.source / name, folder / "text")

    def photos(self, job: Job) -> Call:
        """ImageEmbedding.embed."""
        from fastembed import ImageEmbedding
        from PIL import Image

        os.environ["HF_HUB_OFFLINE"] = "1"
        model = ImageEmbedding(
            "Qdrant/clip-ViT-B-32-vision",
            threads=job.threads,
            specific_model_path=str(job.model.prepared(self.name) / "vision"),
        )

        def call(photos: list[bytes]) -> Array:
            return np.stack(list(model.embed([Image.open(io.BytesIO(photo)) for photo in photos])))

        return call

    def sentences(self, job: Job) -> Call:
        """TextEmbedding.embed, which leaves the norm to its caller."""
        from fastembed import TextEmbedding

        os.environ["HF_HUB_OFFLINE"] = "1"
        model = TextEmbedding(
            "Qdrant/clip-ViT-B-32-text",
            threads=job.threads,
            specific_model_path=str(job.model.prepared(self.name) / "text"),
        )

        def call(sentences: list[str]) -> Array:
            return unit(np.stack(list(model.embed(sentences))))

        return call


def _only_output(source: os.PathLike[str], target: os.PathLike[str], output: str) -> None:
    """Copy a graph with one output: fastembed takes whichever comes first."""
    import onnx

    graph = onnx.load(source)
    kept = [port for port in graph.graph.output if port.name == output]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    onnx.save(graph, target)
