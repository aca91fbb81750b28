"""`clipshelf scale index`: products of any source, embedded by many workers, to a sharded catalogue.

The steps are the same with Ray (`ray_indexing`) and in one process:

1. the source is cut into pieces, and the kinds of its columns are decided from all of them;
2. pieces are read, and their chunks embedded; the file of each chunk is written durably below `building/`;
3. each shard is made of its products in all chunks; of several products with one id, the first that can be used counts;
4. what is pooled is computed, and the manifest replaced.

What is done when a run is interrupted is not done again: chunks and shards that are there stay.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Protocol

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.changes import DEFAULT_SHRINK, check_allow_shrink
from clipshelf.catalogue.disk.manifest import MANIFEST
from clipshelf.catalogue.picture_paths import is_file
from clipshelf.catalogue.reading.field_names import plain_name
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.catalogue.typed_columns.column_values import ColumnTally, tally_columns
from clipshelf.catalogue.typed_columns.inference import infer
from clipshelf.errors import CatalogueError
from clipshelf.failures import Failure
from clipshelf.files import FileRecord, durable, locked, writing
from clipshelf.model.engine import Engine
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.chunks import (
    Chunk,
    chunks_of,
    embed_chunk,
    embedded_chunks,
    join_parts,
    missing_chunks,
    read_failures,
    read_part,
)
from clipshelf.scale.manifest import ShardedManifest, current_generation, read_manifest
from clipshelf.scale.pieces import Piece, pieces_of, read_piece
from clipshelf.scale.writing import WrittenShard, check_shards, publish, save_shard, shard_folder
from clipshelf.types import PathLike, Progress

LEFT_OUT_FILE = "left-out.jsonl"
_BUILDING = "building"


@dataclass(frozen=True)
class Plan:
    """What is indexed and how; processes of a run share it.

    - `folder`, `generation`: of the sharded catalogue.
    - `shards`: their number.
    - `artifact`: path of the model, None for the embedded default; `fingerprint`, `dim` are those of the model.
    - `pieces`: of the source.
    - `fields`, `keep_text`: as `clipshelf.index` takes them; `fields.columns` decides all columns.
    """

    folder: Path
    generation: int
    shards: int
    artifact: str | None
    fingerprint: str
    dim: int
    pieces: tuple[Piece, ...]
    fields: ProductFields
    keep_text: bool
    declarations: tuple[tuple[str, str], ...] = ()

    @property
    def building(self) -> Path:
        """Where the files of this plan are until it is published."""
        facts = {**asdict(self), "folder": None, "artifact": None, "declarations": None, "format": 3}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return self.folder / _BUILDING / digest[:16]

    def embedded(self) -> list[list[int]]:
        """The numbers of the chunks that are embedded, for each piece."""
        return embedded_chunks(self.building, len(self.pieces))

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
        embed_chunk(engine, chunk, self.shards, self.building, keep_text=self.keep_text)
        return len(chunk.batch.products)

    def tally(self, number: int) -> dict[str, ColumnTally]:
        """What values the columns of a piece have, as they are in the source."""
        batch = read_piece(self.pieces[number], self.fields, _ignore, convert=False)
        return tally_columns(batch.with_repeats().products)

    def finish(self, shard: int) -> list[Failure]:
        """Make a shard of its products in all chunks, unless it is there; returns those with an id that came before."""
        marker = self.building / f"shard-{shard:04}.json"
        target = self.folder / shard_folder(shard, self.generation)
        if marker.exists():
            done = json.loads(marker.read_text())
            # Another plan may have written the same folder since.
            if is_file(target / MANIFEST) and FileRecord.of(target / MANIFEST).sha256 == done["sha256"]:
                return [Failure(*values) for values in done["repeated"]]
        found = (read_part(path, shard) for path in sorted(self.building.glob("*-*.npz")))
        words = tuple("text" if name == self.fields.text else name for name in self.fields.words)
        whole = join_parts([part for part in found if part], self.dim, dict(self.declarations), words)
        order = np.argsort(whole.ordinals, kind="stable")
        first, repeated = _first_of_each_id(order.tolist(), [product["id"] for product in whole.contents.products])
        contents = replace(
            whole.contents,
            products=[whole.contents.products[row] for row in first],
            embeddings=whole.contents.embeddings[first],
            keys=whole.contents.keys[first],
            parts=whole.contents.parts.take(np.array(first, np.int64)),
        )
        save_shard(target, Catalogue(contents, self.fingerprint, Path(self.pieces[0].folder), self.artifact))
        with durable(self.building / f"ordinals-{shard:04}.npy") as file:
            np.save(file, whole.ordinals[first], allow_pickle=False)
        failures = [
            Failure(int(whole.ordinals[row]) & 0xFFFFFFFF, id_, "id: expected unique ids, found one again")
            for row, id_ in repeated
        ]
        with durable(marker) as file:
            rows = [[failure.index, failure.source, failure.reason, failure.part] for failure in failures]
            file.write(json.dumps({"sha256": FileRecord.of(target / MANIFEST).sha256, "repeated": rows}).encode())
        return failures


class Executor(Protocol):
    """Runs the steps of a plan, wherever it likes."""

    def tally(self, plan: Plan) -> Iterable[dict[str, ColumnTally]]:
        """Run `Plan.tally` of all pieces; in any order."""

    def embed(self, plan: Plan) -> Iterable[int]:
        """Embed all chunks, and yield the number of products of each."""

    def finish(self, plan: Plan) -> Iterable[list[Failure]]:
        """Run `Plan.finish` of all shards; in order."""


@dataclass(frozen=True)
class OneProcess:
    """Runs a plan in this process, with one engine."""

    engine: Engine

    def tally(self, plan: Plan) -> Iterable[dict[str, ColumnTally]]:
        """Run `Plan.tally` of all pieces."""
        return map(plan.tally, range(len(plan.pieces)))

    def embed(self, plan: Plan) -> Iterable[int]:
        """Embed all chunks."""
        return (
            plan.embed(self.engine, chunk)
            for number, embedded in enumerate(plan.embedded())
            for chunk in plan.chunks(number, embedded)
        )

    def finish(self, plan: Plan) -> Iterable[list[Failure]]:
        """Run `Plan.finish` of all shards."""
        return map(plan.finish, range(plan.shards))


def index_shards(
    engine: Engine,
    source: PathLike,
    path: PathLike,
    shards: int,
    executor: Executor,
    *,
    fields: ProductFields = DEFAULT_FIELDS,
    keep_text: bool = False,
    allow_shrink: float = DEFAULT_SHRINK,
    progress: Progress | None = None,
) -> tuple[ShardedCatalogue, list[Failure]]:
    """Embed products into a sharded catalogue.

    - `engine`: the model; workers open their own.
    - `source`: see `clipshelf.scale.pieces`. Every product must have an id.
    - `path`: the folder of the catalogue, on a file system that all workers share.
    - `shards`: their number.
    - `executor`: where the work is done.
    - `fields`, `keep_text`: as `clipshelf.index` takes them.
    - `allow_shrink`: the share, 0 to 1, of the products that the folder's catalogue may lose.
    - `progress`: called with the number of products that this run embedded, and None.

    Returns the catalogue, and the products that were left out, which are also in `left-out.jsonl` of the pooled files.
    Raises InputError and CatalogueError.
    """
    check_shards(shards)
    check_allow_shrink(allow_shrink)
    folder = Path(path).absolute()
    pieces = tuple(pieces_of(str(source)))
    artifact = None if engine.is_default else str(engine.artifact.path.resolve())
    with locked(folder), writing(folder):
        plan = Plan(
            folder,
            current_generation(folder) + 1,
            shards,
            artifact,
            engine.fingerprint,
            engine.dim,
            pieces,
            fields,
            keep_text,
        )
        plan.building.mkdir(parents=True, exist_ok=True)
        plan = replace(plan, declarations=tuple(sorted(_declarations(plan, executor).items())))
        done = 0
        for count in executor.embed(plan):
            done += count
            if progress is not None:
                progress(done, None)
        if missing := missing_chunks(plan.building, len(pieces)):
            raise CatalogueError(
                f"{folder}: expected all products to be embedded, found that {len(missing)} files in "
                f"{plan.building.name} are missing, such as {missing[0]}; run it again, and it goes on with them"
            )
        failures = [failure for path in sorted(plan.building.glob("*-*.npz")) for failure in read_failures(path)]
        failures += [failure for of_shard in executor.finish(plan) for failure in of_shard]
        written = [
            WrittenShard(folder / shard_folder(n, plan.generation), np.load(plan.building / f"ordinals-{n:04}.npy"))
            for n in range(shards)
        ]
        before = read_manifest(folder) if plan.generation > 1 else None
        _check_shrink(folder, before, sum(len(shard.ordinals) for shard in written), allow_shrink)
        curve = before.relevance_curve if before and before.fingerprint == engine.fingerprint else None
        extra = {LEFT_OUT_FILE: b"".join(map(_line, failures))}
        declared = dict(plan.declarations)
        publish(folder, plan.generation, written, declared, relevance_curve=curve, extra=extra)
        shutil.rmtree(folder / _BUILDING)
    return ShardedCatalogue(folder), failures


def _check_shrink(folder: Path, before: ShardedManifest | None, products: int, allow_shrink: float) -> None:
    """Raise CatalogueError if more than the share `allow_shrink` of the products would be gone."""
    lost = before.products - products if before else 0
    if before and lost > allow_shrink * before.products:
        raise CatalogueError(
            f"{folder}: expected at most {allow_shrink:.0%} of the catalogue's {before.products} products to go, found "
            f"that {lost} would be gone; it stays as it was. --allow-shrink 1, or allow_shrink=1, lets them go"
        )


def _declarations(plan: Plan, executor: Executor) -> dict[str, str]:
    """The declarations of all columns, decided by the values of all pieces; kept for a run that goes on."""
    kept = plan.building / "declarations.json"
    if kept.exists():
        declared: dict[str, str] = json.loads(kept.read_text())
        return declared
    parts = list(executor.tally(plan))
    names = list(dict.fromkeys(name for part in parts for name in part))
    declared = dict(plan.fields.columns)
    of_caller = {plain_name(name): declaration for name, declaration in declared.items()}
    for name in names:
        if plain_name(name) in of_caller:
            declared[name] = of_caller[plain_name(name)]
        else:
            tallies = (part[name] for part in parts if name in part)
            declared[name] = infer(name, reduce(add, tallies, ColumnTally())).declaration
    with durable(kept) as file:
        file.write(json.dumps(declared).encode())
    return declared


def _first_of_each_id(rows: Sequence[int], ids: Sequence[str]) -> tuple[list[int], list[tuple[int, str]]]:
    """Of rows in the order of the source: those of the first product of each id, and the rows and ids of the others."""
    seen: set[str] = set()
    first: list[int] = []
    repeated: list[tuple[int, str]] = []
    for row in rows:
        if ids[row] in seen:
            repeated.append((row, ids[row]))
        else:
            seen.add(ids[row])
            first.append(row)
    return first, repeated


def _line(failure: Failure) -> bytes:
    return json.dumps(asdict(failure), ensure_ascii=False).encode() + b"\n"


def _ignore(_: Failure) -> None:
    """Failures are reported when the products are embedded."""
