"""What `clipshelf scale index` does in steps, each of which any process of a run can take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.disk.manifest import MANIFEST
from clipshelf.catalogue.picture_paths import is_file
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, gather_evidence
from clipshelf.failures import Failure
from clipshelf.files import FileRecord, durable
from clipshelf.model.engine import Engine
from clipshelf.model.image_limits import ImageLimits
from clipshelf.scale.chunks import Chunk, chunks_of, embed_chunk, join_parts, place_of, read_part, unfinished_pieces
from clipshelf.scale.pieces import Piece, read_piece
from clipshelf.scale.writing import save_shard, shard_folder

_BUILDING = "building"


@dataclass(frozen=True)
class PieceSurvey:
    """The columns of a piece.

    - `names`: of all of them, in order.
    - `evidence`: what their values are evidence of, by name; id, text and image are left out.
    """

    names: tuple[str, ...]
    evidence: Mapping[str, ColumnEvidence]


@dataclass(frozen=True)
class Plan:
    """What is indexed and how; processes of a run share it.

    - `folder`, `generation`: of the sharded catalogue.
    - `shards`: their number.
    - `artifact`: path of the model, None for the embedded default; `fingerprint`, `dim` are those of the model.
    - `pieces`: of the source.
    - `root`: the folder of the source, which relative paths of pictures in the catalogue start from.
    - `fields`, `keep_text`: as `clipshelf.index` takes them.
    - `limits`: what a picture may cost.
    - `declarations`, `words`: of all columns, and the columns whose words are indexed, as all pieces decide them.
    """

    folder: Path
    generation: int
    shards: int
    artifact: str | None
    fingerprint: str
    dim: int
    pieces: tuple[Piece, ...]
    root: Path
    fields: ProductFields
    keep_text: bool
    limits: ImageLimits
    declarations: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()

    @cached_property
    def building(self) -> Path:
        """Where the files of this plan are until it is published; to name it takes a pass over all pieces."""
        facts = {**asdict(self), "folder": None, "artifact": None, "declarations": None, "words": None, "format": 5}
        facts["limits"] |= {"memory": None}  # free memory decides it, and it does not decide what a picture becomes
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return self.folder / _BUILDING / digest[:16]

    def unfinished(self) -> dict[int, list[int]]:
        """The pieces whose chunks are not all embedded, each with the numbers of those that are."""
        return unfinished_pieces(self.building, len(self.pieces))

    def chunks(self, number: int, embedded: Container[int] = ()) -> Iterator[Chunk]:
        """The chunks of a piece but those whose numbers are in `embedded`.

        They do not depend on what others have embedded meanwhile: a task of Ray that is run again must give the same.
        """
        failures: list[Failure] = []
        batch = read_piece(self.pieces[number], self.fields, failures.append, dict(self.declarations))
        for chunk in chunks_of(number, self.pieces[number], batch, failures):
            if chunk.number not in embedded:
                yield chunk

    def embed(self, engine: Engine, chunk: Chunk) -> int:
        """Embed a chunk; returns the number of its products."""
        embed_chunk(engine, chunk, self.shards, self.building, root=self.root, keep_text=self.keep_text)
        return len(chunk.batch.products)

    def survey(self, number: int) -> PieceSurvey:
        """What the columns of a piece are, as it has them."""
        batch = read_piece(self.pieces[number], self.fields, lambda _: None, convert=False).with_repeats()
        return PieceSurvey(tuple(batch.names), gather_evidence(batch.products))

    def finish(self, shard: int) -> list[Failure]:
        """Make a shard of its products in all chunks, unless it is there; returns those with an id that came before."""
        marker = self.building / f"shard-{shard:04}.json"
        target = self.folder / shard_folder(shard, self.generation)
        if marker.exists():
            finished = json.loads(marker.read_text())
            # Another plan may have written the same folder since.
            if is_file(target / MANIFEST) and FileRecord.of(target / MANIFEST).sha256 == finished["sha256"]:
                return [Failure(*values) for values in finished["repeated"]]
        parts = (read_part(path, shard) for path in sorted(self.building.glob("*-*.npz")))
        whole = join_parts([part for part in parts if part], self.dim, dict(self.declarations), self.words)
        order = np.argsort(whole.ordinals, kind="stable")
        first, repeated = _first_of_each_id(order.tolist(), [product["id"] for product in whole.contents.products])
        contents = replace(
            whole.contents,
            products=[whole.contents.products[row] for row in first],
            embeddings=whole.contents.embeddings[first],
            keys=whole.contents.keys[first],
            parts=whole.contents.parts.take(np.array(first, np.int64)),
        )
        save_shard(target, Catalogue(contents, self.fingerprint, self.root, self.artifact))
        with durable(self.building / f"ordinals-{shard:04}.npy") as file:
            np.save(file, whole.ordinals[first], allow_pickle=False)
        ordinals, products = whole.ordinals.tolist(), whole.contents.products
        failures = [self._repeated(products[row]["id"], ordinals[row], ordinals[used]) for row, used in repeated]
        with durable(marker) as file:
            rows = [[failure.index, failure.source, failure.reason, failure.part] for failure in failures]
            file.write(json.dumps({"sha256": FileRecord.of(target / MANIFEST).sha256, "repeated": rows}).encode())
        return failures

    def _repeated(self, id_: str, ordinal: int, used: int) -> Failure:
        """The failure of a product whose id that of the ordinal `used` has."""
        (name, position), (used_name, used_position) = self._place(ordinal), self._place(used)
        of_file = f" of {used_name}" if used_name != name else ""
        reason = f"id: expected unique ids, found {id_!r} again, which product {used_position}{of_file} has"
        return Failure(position, id_, f"{name}: product {position}: {reason}")

    def _place(self, ordinal: int) -> tuple[str, int]:
        """The file of a product, and its position there."""
        piece, position = place_of(ordinal)
        file = self.pieces[piece].file
        return file.address(file.path), position


def _first_of_each_id(rows: Sequence[int], ids: Sequence[str]) -> tuple[list[int], list[tuple[int, int]]]:
    """Of rows in the order of the source those of the first product of each id; and the others, with the row of it."""
    row_of: dict[str, int] = {}
    repeated = [(row, row_of[ids[row]]) for row in rows if row_of.setdefault(ids[row], row) != row]
    return list(row_of.values()), repeated
