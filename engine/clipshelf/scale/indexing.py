"""`clipshelf scale index`: products of any source, embedded by many workers, to a sharded catalogue.

The steps are the same with Ray (`ray_indexing`) and in one process:

1. the source is cut into pieces, and the kinds of its columns are decided from all of them;
2. pieces are read, and their chunks embedded; the file of each chunk is written durably below `building/`;
3. each shard is made of its products in all chunks; of several products with one id, the first that can be used counts;
4. what is pooled is computed, and the manifest replaced.

What is done when a run is interrupted is not done again: chunks and shards that are there stay.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from clipshelf.catalogue.changes import DEFAULT_SHRINK, check_allow_shrink
from clipshelf.catalogue.reading.field_names import match_fields, plain_name
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.catalogue.reading.source import Source
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence
from clipshelf.catalogue.typed_columns.inference import infer
from clipshelf.errors import CatalogueError
from clipshelf.failures import Failure
from clipshelf.files import durable, locked, writing
from clipshelf.model.engine import Engine
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.chunks import missing_chunks, read_failures
from clipshelf.scale.index_plan import Plan
from clipshelf.scale.manifest import ShardedManifest, current_generation, read_manifest
from clipshelf.scale.pieces import Piece, SourceFile, cut, files_of, root_of
from clipshelf.scale.steps import Result, run_here
from clipshelf.scale.writing import WrittenShard, check_shards, publish, shard_folder
from clipshelf.types import PathLike, Progress

LEFT_OUT_FILE = "left-out.jsonl"


class Executor(Protocol):
    """Runs the steps of a plan, wherever it likes."""

    def run(self, step: Callable[[int], Result], count: int, /) -> Iterable[Result]:
        """Take a step for the numbers from 0 to `count`; returns the results in order, as `steps.Run`."""

    def embed(self, plan: Plan) -> Iterable[int]:
        """Embed all chunks, and yield the number of products of each."""


@dataclass(frozen=True)
class OneProcess:
    """Runs a plan in this process, with one engine."""

    engine: Engine

    def run(self, step: Callable[[int], Result], count: int, /) -> Iterable[Result]:
        """Take a step for all numbers in this process."""
        return run_here(step, count)

    def embed(self, plan: Plan) -> Iterable[int]:
        """Embed all chunks."""
        return (
            plan.embed(self.engine, chunk)
            for number, embedded in plan.unfinished().items()
            for chunk in plan.chunks(number, embedded)
        )


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
    timeout: float = 0.0,
    progress: Progress | None = None,
) -> tuple[ShardedCatalogue, list[Failure]]:
    """Embed products into a sharded catalogue.

    - `engine`: the model, and what a picture may cost; workers open their own.
    - `source`: see `clipshelf.scale.pieces`. Every product must have an id.
    - `path`: the folder of the catalogue, on a file system that all workers share.
    - `shards`: their number.
    - `executor`: where the work is done.
    - `fields`, `keep_text`: as `clipshelf.index` takes them.
    - `allow_shrink`: the share, 0 to 1, of the products that the folder's catalogue may lose.
    - `timeout`: seconds to wait for another writer.
    - `progress`: called with the number of products that this run embedded, and None.

    Returns the catalogue, and the products that were left out, which are also in `left-out.jsonl` of the pooled files.
    Raises InputError and CatalogueError.
    """
    check_shards(shards)
    check_allow_shrink(allow_shrink)
    folder = Path(path).absolute()
    artifact = None if engine.is_default else str(engine.artifact.path.resolve())
    files, root = files_of(str(source)), root_of(str(source))
    with locked(folder, timeout=timeout), writing(folder):
        pieces = _pieces(files, fields, executor)
        plan = Plan(
            folder,
            current_generation(folder) + 1,
            shards,
            artifact,
            engine.fingerprint,
            engine.dim,
            pieces,
            root,
            fields,
            keep_text=keep_text,
            limits=engine.image_limits,
        )
        plan.building.mkdir(parents=True, exist_ok=True)
        plan = _with_columns(plan, str(source), executor)
        _embed(plan, executor, progress)
        failures = _finish(plan, executor, allow_shrink)
        # A worker on a node that was lost may still write there. What it leaves goes with the next run.
        shutil.rmtree(plan.building.parent, ignore_errors=True)
    return ShardedCatalogue(folder), failures


def _pieces(files: Sequence[SourceFile], fields: ProductFields, executor: Executor) -> tuple[Piece, ...]:
    """The pieces of all files."""
    by_file = executor.run(partial(_cut_one, files, fields), len(files))
    return tuple(chain.from_iterable(by_file))


def _cut_one(files: Sequence[SourceFile], fields: ProductFields, number: int) -> list[Piece]:
    return cut(files[number], fields)


def _embed(plan: Plan, executor: Executor, progress: Progress | None) -> None:
    """Embed all chunks; raises CatalogueError where some are not there then."""
    count = 0
    for of_chunk in executor.embed(plan):
        count += of_chunk
        if progress is not None:
            progress(count, None)
    if missing := missing_chunks(plan.building, len(plan.pieces)):
        raise CatalogueError(
            f"{plan.folder}: expected all products to be embedded, found that {len(missing)} files in "
            f"{plan.building.name} are missing, such as {missing[0]}; run it again, and it goes on with them"
        )


def _finish(plan: Plan, executor: Executor, allow_shrink: float) -> list[Failure]:
    """Make the shards of the chunks, and publish them; returns the products that were left out."""
    folder = plan.folder
    failures = [failure for path in sorted(plan.building.glob("*-*.npz")) for failure in read_failures(path)]
    failures += [failure for of_shard in executor.run(plan.finish, plan.shards) for failure in of_shard]
    written = [
        WrittenShard(
            folder / shard_folder(number, plan.generation),
            np.load(plan.building / f"ordinals-{number:04}.npy", mmap_mode="r"),
        )
        for number in range(plan.shards)
    ]
    before = read_manifest(folder) if plan.generation > 1 else None
    _check_shrink(folder, before, sum(len(shard.ordinals) for shard in written), allow_shrink)
    curve = before.relevance_curve if before and before.fingerprint == plan.fingerprint else None
    extra = {LEFT_OUT_FILE: b"".join(map(_line, failures))}
    publish(
        folder, plan.generation, written, dict(plan.declarations), relevance_curve=curve, extra=extra, run=executor.run
    )
    return failures


def _check_shrink(folder: Path, before: ShardedManifest | None, products: int, allow_shrink: float) -> None:
    """Raise CatalogueError if more than the share `allow_shrink` of the products would be gone."""
    lost = before.products - products if before else 0
    if before and lost > allow_shrink * before.products:
        raise CatalogueError(
            f"{folder}: expected at most {allow_shrink:.0%} of the catalogue's {before.products} products to go, found "
            f"that {lost} would be gone; it stays as it was. --allow-shrink 1, or allow_shrink=1, lets them go"
        )


def _with_columns(plan: Plan, source: str, executor: Executor) -> Plan:
    """The plan with the columns that all pieces have; they are kept for a run that goes on."""
    path = plan.building / "columns.json"
    if not path.exists():
        declarations, words = _decide_columns(plan, source, executor)
        with durable(path) as file:
            file.write(json.dumps({"declarations": declarations, "words": words}).encode())
    columns = json.loads(path.read_text())
    return replace(plan, declarations=tuple(columns["declarations"].items()), words=tuple(columns["words"]))


def _decide_columns(plan: Plan, source: str, executor: Executor) -> tuple[dict[str, str], tuple[str, ...]]:
    """The declarations of all columns, and those whose words are indexed; raises InputError for one that is nowhere."""
    names: dict[str, None] = {}
    evidence: dict[str, ColumnEvidence] = {}
    for survey in executor.run(plan.survey, len(plan.pieces)):
        names |= dict.fromkeys(survey.names)
        for name, of_piece in survey.evidence.items():
            evidence[name] = evidence[name] + of_piece if name in evidence else of_piece
    # Each file was read by its own spelling of a name.
    spellings: dict[str, str] = {}
    for name in names:
        spellings.setdefault(plain_name(name), name)
    roles = (plan.fields.id, *plan.fields.text_columns, *plan.fields.image_columns)
    expected = (*roles, *plan.fields.columns, *plan.fields.words)
    spellings |= {plain_name(name): name for name in expected if name in names}
    fields = match_fields(plan.fields, Source([], name=source), [*spellings.values()], (), lambda _: None)
    declared: dict[str, str] = {}
    of_caller = {plain_name(name): declaration for name, declaration in fields.columns.items()}
    for name, of_column in evidence.items():
        declared[name] = of_caller.get(plain_name(name)) or infer(name, of_column).declaration
    declared = {**declared, **fields.columns}
    words = dict.fromkeys("text" if name in fields.text_columns else name for name in fields.words)
    return declared, tuple(words)


def _line(failure: Failure) -> bytes:
    return json.dumps(asdict(failure), ensure_ascii=False).encode() + b"\n"
