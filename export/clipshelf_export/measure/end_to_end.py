"""Compare a written artifact, through the engine, with the original's own library: from pictures and texts on.

The towers are compared on ready inputs elsewhere. This finds what that cannot: a resize rule, a normalisation or a
tokenizer that differs. Both are asked for the same embeddings, and a part that differs by more than the graph does is
an error. The pictures are drawn ones and the sample query photos, which no range was set on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from clipshelf import Engine, bundled
from clipshelf.errors import ExportError
from clipshelf.model.artifact import TowerName
from clipshelf.model.image import ImageReader
from clipshelf.model.tokenizer import Tokenizer
from clipshelf.types import FloatArray, ImageSource
from PIL import Image, ImageOps

from clipshelf_export.checkpoints.towers import Checkpoint, LibraryPipeline
from clipshelf_export.measure import synthetic
from clipshelf_export.measure.samples import pad

# Width and height of the drawn pictures, in pixels: wide, tall, square, smaller and larger than what a tower takes.
SHAPES = ((640, 400), (300, 500), (256, 256), (97, 60), (1000, 333), (40, 44))
# Short enough for every context, in several scripts, with capitals, punctuation, marks and white space.
TEXTS = (
    "a red leather jacket",
    "A photo of a CAT, isn't it?",
    "size 42; 100% wool (washable)!",
    "  two  spaces\tand a tab ",
    "crème brûlée für zwei",
    "привет",
    "東京の靴",
    "שלום",
)
# The largest difference of a component between the library's way and the same model on inputs that the engine prepared.
# Inputs that are equal differ by rounding; one pixel in a hundred that is off by one level differs by less than this.
INPUT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """The agreement of one tower with the library, over all probes.

    - `inputs`: the largest difference of a component that the preparation of inputs causes.
    - `cosine_min`: the least cosine of the engine's embedding and the library's.
    """

    inputs: float
    cosine_min: float

    def as_record(self) -> dict[str, float]:
        """Return the record for the manifest."""
        return {"inputs": float(f"{self.inputs:.2g}"), "cosine_min": round(self.cosine_min, 6)}


def compare_with_library(
    checkpoint: Checkpoint, pipeline: LibraryPipeline, artifact: Path, threads: int
) -> dict[str, dict[str, float]]:
    """Embed the probes with the library and with the engine.

    - `checkpoint`: whose reference embeds inputs that the engine prepared.
    - `pipeline`: the library's own way.
    - `artifact`: the folder of the artifact.
    - `threads`: of the engine.

    Returns the record of each tower for the manifest and, where the model gives probabilities, one of the pairs: the
    largest difference of a probability. Raises ExportError where a tower's inputs differ.
    """
    engine = Engine.load(artifact, decode="exact", threads=threads)
    drawn, photographs = _drawn_pictures(), sorted(bundled.queries_path().glob("*.jpg"))
    sources: list[ImageSource] = [*drawn, *photographs]
    reader = ImageReader(checkpoint.image_spec, "exact")
    pixels = np.stack([reader.read(source) for source in sources])
    tokenizer = Tokenizer(artifact / "tokenizer.json", checkpoint.text_spec)
    probes = checkpoint.probes or TEXTS
    texts = [text for text, parts in zip(probes, tokenizer.encode_parts(probes), strict=True) if len(parts) == 1]
    ids, mask = pad(tokenizer.encode(texts), checkpoint.text_spec.pad_id)
    pictures = [*drawn, *map(_open_upright, photographs)]
    library = {"vision": pipeline.embed_images(pictures), "text": pipeline.embed_texts(texts)}
    found = {"vision": engine.embed_images(sources), "text": engine.embed_texts(texts)}
    vision = _agreement("vision", library["vision"], checkpoint.reference.embed_images(pixels), found["vision"])
    text = _agreement("text", library["text"], checkpoint.reference.embed_texts(ids, mask), found["text"])
    record = {"vision": vision.as_record(), "text": text.as_record()}
    if checkpoint.logits:
        expected, probabilities = (
            engine.match_probabilities(rows["text"], rows["vision"]) for rows in (library, found)
        )
        record["pairs"] = {"probability": float(f"{np.abs(expected - probabilities).max():.2g}")}
    return record


def _agreement(tower: TowerName, library: FloatArray, prepared: FloatArray, engine: FloatArray) -> Agreement:
    """Compare three embeddings (n, D) of the probes; ExportError where the preparation of inputs differs.

    - `library`: of the library's own way.
    - `prepared`: of the library's model on inputs that the engine prepared.
    - `engine`: of the engine.
    """
    inputs = float(np.abs(library - prepared).max())
    if not inputs <= INPUT_TOLERANCE:
        raise ExportError(
            f"{tower}: expected the inputs that the checkpoint's own library prepares, found embeddings that differ by "
            f"{inputs:.2g}"
        )
    return Agreement(inputs, float((library * engine).sum(1).min()))


def _drawn_pictures() -> list[Image.Image]:
    """Return a synthetic picture of each of `SHAPES`."""
    side = max(max(shape) for shape in SHAPES)
    pictures = [Image.fromarray(pixels) for pixels in synthetic.make_pictures(len(SHAPES), side, seed=13)]
    return [picture.crop((0, 0, *shape)) for picture, shape in zip(pictures, SHAPES, strict=True)]


def _open_upright(path: Path) -> Image.Image:
    """Return a photograph as whoever hands it to the library sees it: turned as its EXIF data say."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")
