"""clipshelf: an artifact on its own engine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from clipshelf_bench.arrays import Array, TokenIds
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task
from clipshelf_bench.subjects.subject import Subject, build_once

if TYPE_CHECKING:
    from clipshelf import Catalogue, Engine

OURS = "clipshelf"


class Clipshelf(Contender):
    """The subject's artifact in its default precision; exported from the checkpoint where there is none."""

    name: ClassVar[str] = OURS
    description = "clipshelf, int8 artifact"
    precision: ClassVar[Literal["int8", "fp32"]] = "int8"
    needs_checkpoint: ClassVar[bool] = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """All tasks from a model on; `clipshelf_rank` and `clipshelf_profiles` do the others."""
        return {
            "image": self.image,
            "text": self.text,
            "pixels": self.pixels,
            "photos": self.photos,
            "sentences": self.sentences,
            "recommend": self.recommend,
            "recommend_files": self.recommend_files,
        }

    def prepare(self, subject: Subject) -> None:
        """Export the checkpoint, unless an artifact was given."""
        if self.given_artifact(subject) is not None:
            return
        with build_once(self.shipped_folder(subject)) as folder:
            if folder is not None:
                from clipshelf_export import export

                folder.rmdir()  # export makes it
                export(str(subject.require_checkpoint()), folder, precisions=(self.precision,))

    def shipped_folder(self, subject: Subject) -> Path:
        """The artifact."""
        return self.given_artifact(subject) or subject.prepared_folder(f"{self.name}-{_exporter_digest()}")

    def given_artifact(self, subject: Subject) -> Path | None:
        """The artifact of the command line or the embedded default; None where `prepare` exports one."""
        return subject.artifact

    def image(self, job: Job) -> Call:
        """The vision graph alone."""
        return self.load_once(job, self._engine).embed_pixels

    def text(self, job: Job) -> Call:
        """The text graph alone."""
        engine = self.load_once(job, self._engine)
        session, masked = engine.towers.session("text"), engine.artifact.manifest.text.attention_mask

        def call(ids: TokenIds) -> Array:
            feeds = {"input_ids": ids} | ({"attention_mask": np.ones_like(ids)} if masked else {})
            return session.run(feeds)

        return call

    def pixels(self, job: Job) -> Call:
        """Decode and preprocess, with the default `decode="fast"`."""
        engine = self.load_once(job, self._engine)
        return lambda photos: np.stack([engine.read_image(photo) for photo in photos])

    def photos(self, job: Job) -> Call:
        """Decode, preprocess, embed."""
        return self.load_once(job, self._engine).embed_images

    def sentences(self, job: Job) -> Call:
        """Tokenise, embed."""
        return self.load_once(job, self._engine).embed_texts

    def recommend(self, job: Job) -> Call:
        """Recommend from a catalogue in memory."""
        engine = self.load_once(job, self._engine)
        return _recommender_call(engine, catalogue_of_matrix(job, engine))

    def recommend_files(self, job: Job) -> Call:
        """Recommend from a catalogue on disk; the first process that opens it indexes the products."""
        from clipshelf import Catalogue

        engine = self.load_once(job, self._engine)
        products = job.require_products()
        folder = products / f"indexed-{engine.fingerprint}"
        if not folder.is_dir():
            Catalogue.build(engine, products / "products.csv").save(folder)
        return _recommender_call(engine, Catalogue.load(folder))

    def _engine(self, job: Job) -> Engine:
        from clipshelf import Engine

        return Engine.load(self.shipped_folder(job.require_subject()), threads=job.threads)


class ClipshelfFunctions(Clipshelf):
    """The same artifact without the native kernels, on operators of onnxruntime."""

    name = "clipshelf-onnxruntime"
    description = "clipshelf, int8 artifact, without its kernels"
    quick = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """The towers, and what a start is measured with."""
        return {
            "image": self.image,
            "text": self.text,
            "photos": self.photos,
            "sentences": self.sentences,
            "recommend_files": self.recommend_files,
        }

    def shipped_folder(self, subject: Subject) -> Path:
        """The artifact of `Clipshelf`."""
        return Clipshelf().shipped_folder(subject)

    def _engine(self, job: Job) -> Engine:
        os.environ["CLIPSHELF_KERNELS"] = "off"  # of this contender's own process
        return super()._engine(job)


class ClipshelfFloat(Clipshelf):
    """An export in fp32, whether or not an artifact was given."""

    name = "clipshelf-fp32"
    description = "clipshelf, fp32 artifact"
    quick = False
    precision = "fp32"
    needs_checkpoint = True

    def given_artifact(self, subject: Subject) -> Path | None:
        """None: it exports its own."""
        del subject
        return None


def catalogue_of_matrix(job: Job, engine: Engine) -> Catalogue:
    """A catalogue of products that have only an embedding: the rows of the job's matrix (N, 2D).

    The id of a product is the number of its row.
    """
    from clipshelf import Catalogue
    from clipshelf.catalogue.contents import contents_of_rows

    return Catalogue(contents_of_rows(job.load_matrix()), engine.fingerprint, Path())


def _recommender_call(engine: Engine, catalogue: Catalogue) -> Call:
    """Recommend by plain cosines, which is how the other contenders compare."""
    from clipshelf import Recommender

    recommender = Recommender(engine, catalogue, gap_correction=False)

    def call(query: tuple[str, bytes]) -> Array:
        answer = recommender.recommend(query[0], query[1], k=TOP_K)
        return np.array([[int(item.id) for item in answer]])

    return call


def _exporter_digest() -> str:
    """A digest of the exporter's sources, read without importing them: another exporter makes another artifact."""
    spec = find_spec("clipshelf_export")
    folders = (spec and spec.submodule_search_locations) or ()
    sources = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
