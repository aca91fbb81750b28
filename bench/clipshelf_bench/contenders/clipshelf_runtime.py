"""Ours: the artifact on the clipshelf runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import Call, Contender, Job, K
from clipshelf_bench.subjects.subject import Subject, whole


def _exporter() -> str:
    """A digest of the exporter's sources, which are not imported: an artifact of another one is made anew."""
    spec = find_spec("clipshelf_export")
    folders = (spec and spec.submodule_search_locations) or ()
    sources = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


class Clipshelf(Contender):
    """The artifact in its default precision."""

    name: ClassVar[str] = "clipshelf"
    about = "clipshelf, int8 artifact"
    precision: ClassVar[Literal["int8", "fp32"]] = "int8"
    needs_checkpoint: ClassVar[bool] = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """All tasks but ranking alone."""
        return {
            "image": self.image,
            "text": self.text,
            "pixels": self.pixels,
            "photos": self.photos,
            "sentences": self.sentences,
            "answer": self.answer,
            "shelf": self.shelf,
        }

    def prepare(self, subject: Subject) -> None:
        """Export the checkpoint, where no artifact was given."""
        if self.artifact(subject) is not None:
            return
        with whole(self.disk(subject)) as folder:
            if folder is not None:
                from clipshelf_export import export

                folder.rmdir()
                export(str(subject.source), folder, precisions=(self.precision,))

    def disk(self, subject: Subject) -> Path:
        """The artifact."""
        return self.artifact(subject) or subject.prepared(f"{self.name}-{_exporter()}")

    def artifact(self, subject: Subject) -> Path | None:
        """The artifact that was given, None where it is still to be exported."""
        return subject.artifact

    def image(self, job: Job) -> Call:
        """The vision graph alone."""
        session = self._towers(job).session("vision")

        def call(pixels: Pixels) -> Array:
            return session.run({"pixels": pixels})  # type: ignore[no-any-return]

        return call

    def text(self, job: Job) -> Call:
        """The text graph alone."""
        session = self._towers(job).session("text")
        masked = self.once(job, self._engine).artifact.manifest.text.attention_mask

        def call(ids: TokenIds) -> Array:
            feeds = {"input_ids": ids} | ({"attention_mask": np.ones_like(ids)} if masked else {})
            return session.run(feeds)  # type: ignore[no-any-return]

        return call

    def pixels(self, job: Job) -> Call:
        """Decode and preprocess, as `decode="fast"` does."""
        from clipshelf.model.image import ImageReader

        reader = ImageReader(self.once(job, self._engine).artifact.manifest.image)
        return lambda photos: np.stack([reader.read(photo) for photo in photos])

    def photos(self, job: Job) -> Call:
        """Decode, preprocess, embed."""
        embed: Call = self.once(job, self._engine).embed_images
        return embed

    def sentences(self, job: Job) -> Call:
        """Tokenise, embed."""
        embed: Call = self.once(job, self._engine).embed_texts
        return embed

    def answer(self, job: Job) -> Call:
        """A sentence and a photo to the best rows of a catalogue (N, 2D)."""
        from clipshelf import Catalogue
        from clipshelf.catalogue.contents import contents_of_rows

        engine = self.once(job, self._engine)
        return _answers(engine, Catalogue(contents_of_rows(job.rows()), engine.fingerprint, Path()))

    def shelf(self, job: Job) -> Call:
        """The same from a catalogue on disk, which the first to open it makes."""
        from clipshelf import Catalogue

        engine = self.once(job, self._engine)
        folder = job.products / f"indexed-{engine.fingerprint}"
        if not folder.is_dir():
            Catalogue.build(engine, job.products / "products.csv").save(folder)
        return _answers(engine, Catalogue.load(folder))

    def _towers(self, job: Job) -> Any:
        """The graphs alone, as the engine opens them."""
        from clipshelf.model.towers import Towers

        engine = self.once(job, self._engine)
        return Towers(engine.artifact, provider=engine.provider, precision=engine.precision, threads=job.threads)

    def _engine(self, job: Job) -> Any:
        from clipshelf import Engine

        return Engine.load(self.disk(job.model), threads=job.threads)


def _answers(engine: Any, catalogue: Any) -> Call:
    """Best rows of a catalogue whose ids are its row numbers, by plain cosines, as the contenders compare."""
    from clipshelf import Recommender

    recommender = Recommender(engine, catalogue, gap_correction=False)

    def call(query: tuple[str, bytes]) -> Array:
        answer = recommender.recommend(query[0], query[1], k=K)
        return np.array([[int(item.id) for item in answer]])

    return call


class ClipshelfFloat(Clipshelf):
    """An export in fp32, whatever artifact was given."""

    name = "clipshelf-fp32"
    about = "clipshelf, fp32 artifact"
    quick = False
    precision = "fp32"
    needs_checkpoint = True

    def artifact(self, subject: Subject) -> Path | None:
        """None: it makes its own."""
        del subject
        return None


class ClipshelfRank(Contender):
    """The exact ranker as it chooses for itself."""

    name: ClassVar[str] = "clipshelf-rank"
    about = "clipshelf Ranker, exact, int8 scan"
    precision: ClassVar[str] = "auto"
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Ranking alone."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        from clipshelf import Ranker

        ranker = Ranker(job.rows(), self.precision, threads=job.threads)
        return lambda queries: np.asarray(ranker.top_k(queries, K)[1])


class ClipshelfRankFloat(ClipshelfRank):
    """The same answers by a float32 scan."""

    name = "clipshelf-rank-fp32"
    about = "clipshelf Ranker, exact, fp32 scan"
    precision = "fp32"
