"""Changes the model of the catalogue in a folder, which answers all the time.

`reembed` prepares a generation beside the current one, `switch` makes it the current one in one step, and `switch_back`
brings the one before back. Each generation names its model, so that whoever opens the catalogue opens the right one.

While products are embedded, the folder has two more files:

    reembed-journal.<fingerprint>  embeddings in the order in which they were computed, as in `disk.journal`
    reembed-matrix.<fingerprint>   float32 (N, 2D), the rows of the new generation so far

After an interruption the same call reads the journal, and embeds only what is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from clipshelf import bundled
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.changes import DEFAULT_SHRINK, Losses, check_allow_shrink
from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.disk.folder import REEMBED_LOCK, changing, commit, next_number, opened, remove_leftovers
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.journal import EmbeddingTable, Journal, is_reembedding
from clipshelf.catalogue.disk.locations import find_model
from clipshelf.catalogue.disk.manifest import CatalogueManifest, read_manifest, read_part
from clipshelf.catalogue.disk.save import Embedder, write_generation
from clipshelf.catalogue.edits import embedding_tables
from clipshelf.catalogue.messages import OnWarning
from clipshelf.catalogue.reembedded import Reembedder
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_embedding import EmbeddingCache
from clipshelf.errors import CatalogueError, ClipshelfError, FingerprintMismatch
from clipshelf.failures import OnError, check_on_error
from clipshelf.files import locked, writing
from clipshelf.model.artifact import Artifact
from clipshelf.model.engine import Engine
from clipshelf.types import PathLike, Progress

_PREFIX = "reembed-"
# Seconds that `reembed` waits for another writer after it has embedded.
_TIMEOUT = 60.0


def reembed(
    engine: Engine,
    folder: PathLike,
    *,
    root: PathLike | None = None,
    allow_outside: bool = False,
    on_error: OnError = "raise",
    keep_text: bool = False,
    allow_shrink: float = DEFAULT_SHRINK,
    timeout: float = _TIMEOUT,
    on_warning: OnWarning | None = None,
    progress: Progress | None = None,
) -> Catalogue:
    """Embed the products of the catalogue in `folder` with another model, as a generation beside the current one.

    - `engine`: the other model.
    - `folder`: the catalogue's folder.
    - `root`, `allow_outside`: where its pictures are, and which may be read, as `Catalogue.load` takes them.
    - `on_error`, `keep_text`: as `Catalogue.build` takes them. A picture that is gone is an error, and so is one that
      was indexed from memory.
    - `allow_shrink`: the share, 0 to 1, of the products, of the pictures and of the texts that may be left out.
    - `timeout`: seconds to wait, in the end, for a process that writes the catalogue.
    - `on_warning`: called with each message about what fails nothing.
    - `progress`: called with the number of products done and of all.

    The catalogue answers meanwhile, and may be edited: what changed is embedded in the end. Each text and picture is
    embedded once, also over interruptions; what the folder has from this model is not embedded again. Records, columns
    and the index of words stay the same files.

    Returns the prepared catalogue, which `Catalogue.load(folder, part="prepared")` opens later. Raises InputError
    naming the product; and CatalogueError where the current generation has this model, where more than `allow_shrink`
    would go, and while another process embeds.
    """
    check_allow_shrink(allow_shrink)
    check_on_error(on_error)
    folder = Path(folder)
    _require_other(read_manifest(folder), engine, folder)
    with locked(folder, name=REEMBED_LOCK), Journal(folder, engine.fingerprint, engine.dim, _PREFIX) as journal:
        cache = EmbeddingCache((*_known_tables(folder, engine.fingerprint), journal.table), journal)
        run = _Run(engine, folder, root, allow_outside, Reembedder(engine, cache, on_error, keep_text, progress))
        # Before hours of embedding; what cannot be embedded otherwise is counted in the end.
        catalogue = run.load()
        run.reembedder.losses(catalogue).check([catalogue.contents], allow_shrink, folder)
        catalogue, contents = run.embed()
        with locked(folder, timeout=timeout):
            if read_manifest(folder).generation != _generation(catalogue).manifest.generation:
                # The journal has all but what was edited meanwhile.
                catalogue, contents = run.embed()
            _require_other(read_manifest(folder), engine, folder)
            losses = Losses.between(catalogue.contents, contents)
            losses.check([catalogue.contents], allow_shrink, folder)
            curve = _save_prepared(engine, catalogue, contents)
            if catalogue.relevance_curve is not None and curve is None and on_warning is not None:
                on_warning(
                    "relevance: the curve that clipshelf calibrate fitted belongs to the old model; fit one to the new "
                    "model after the switch"
                )
            if losses.pictures and on_error == "raise" and on_warning is not None:
                on_warning(
                    f"pictures: expected those that were indexed, left out {losses.pictures} that cannot be read"
                )
        del contents
        _remove_working_files(folder)
    return Catalogue.load(folder, root=root, allow_outside=allow_outside, part="prepared")


def switch(folder: PathLike, *, timeout: float = 0.0) -> Catalogue:
    """Make the prepared generation the current one, in one step; the one before stays for `switch_back`.

    - `folder`: the catalogue's folder.
    - `timeout`: seconds to wait for another writer.

    Processes that have the catalogue open keep their generation until they open it again, with the model that it names.

    Returns the catalogue. Raises CatalogueError, and leaves all as it was, where nothing is prepared, where the
    catalogue was edited since, and where the new model is not there.
    """
    folder = Path(folder)
    prepared = read_part(folder, "prepared")
    with locked(folder, timeout=timeout):
        current, prepared = read_manifest(folder), read_part(folder, "prepared")
        if prepared.counterpart != current.generation:
            raise CatalogueError(
                f"{folder}: expected a prepared generation with the products of generation {current.generation}, found "
                f"one with those of {prepared.counterpart}: the catalogue was edited since; clipshelf reembed again "
                "embeds only what is new"
            )
        _replace(folder, current, replace(prepared, counterpart=None), prepared=None)
    return Catalogue.load(folder)


def switch_back(
    folder: PathLike,
    *,
    open_engine: Callable[[str | None], Engine] = Engine.load,
    timeout: float = 0.0,
    on_warning: OnWarning | None = None,
    progress: Progress | None = None,
) -> Catalogue:
    """Bring back the model that the catalogue had before the last switch, in one step.

    - `folder`: the catalogue's folder.
    - `open_engine`: opens the old model by its path, None for the embedded default. It is needed only where products
      were edited since the switch: these are embedded by it, all others are known.
    - `timeout`, `on_warning`, `progress`: as `reembed` takes them.

    The generation that was current stays, so that a second call brings it back. A relevance curve comes back with its
    model. Returns the catalogue. Raises CatalogueError where there was no switch, or the old model is not there.
    """
    folder = Path(folder)
    previous = read_part(folder, "previous")
    if previous.counterpart == read_manifest(folder).generation:
        with locked(folder, timeout=timeout):
            current, previous = read_manifest(folder), read_part(folder, "previous")
            if previous.counterpart == current.generation:
                new = replace(previous, generation=next_number(current), counterpart=None)
                _replace(folder, current, new, prepared=current.prepared)
                return Catalogue.load(folder)
    _require_model(folder, previous)
    engine = open_engine(find_model(folder.resolve(), previous))
    reembed(engine, folder, timeout=max(timeout, _TIMEOUT), on_warning=on_warning, progress=progress)
    return switch(folder, timeout=timeout)


def discard(folder: PathLike, *, timeout: float = 0.0) -> None:
    """Remove what a change of the model has left beside the current generation, which stays as it is.

    - `folder`: the catalogue's folder.
    - `timeout`: seconds to wait for another writer.

    These are the prepared generation, the one before the last switch, and what an interrupted `reembed` has embedded.
    Raises CatalogueError.
    """
    folder = Path(folder)
    read_manifest(folder)
    with locked(folder, name=REEMBED_LOCK), locked(folder, timeout=timeout):
        current = read_manifest(folder)
        new = replace(current, prepared=None, previous=None)
        with changing(folder, current):
            commit(folder, new)
        with writing(folder):
            remove_leftovers(folder, new)
        _remove_working_files(folder)


@dataclass(frozen=True)
class _Run:
    """One call of `reembed`."""

    engine: Engine
    folder: Path
    root: PathLike | None
    allow_outside: bool
    reembedder: Reembedder

    def load(self) -> Catalogue:
        """The current catalogue."""
        return Catalogue.load(self.folder, root=self.root, allow_outside=self.allow_outside)

    def embed(self) -> tuple[Catalogue, Contents]:
        """The current catalogue, and its contents by the other model."""
        catalogue = self.load()
        with writing(self.folder):
            path = self.folder / f"{_PREFIX}matrix.{self.engine.fingerprint}"
            path.unlink(missing_ok=True)
        return catalogue, self.reembedder.embed(catalogue, path)


def _save_prepared(engine: Engine, catalogue: Catalogue, contents: Contents) -> RelevanceCurve | None:
    """Save contents as the prepared generation; returns its relevance curve, which belongs to its model."""
    base = _generation(catalogue)
    folder, old = base.folder, read_manifest(base.folder)
    curve = next((each.relevance_curve for each in old.generations if each.fingerprint == engine.fingerprint), None)
    model = None if engine.is_default else str(engine.artifact.path.resolve())
    with changing(folder, old):
        embedder = Embedder(engine.fingerprint, model, catalogue.root, curve)
        prepared = write_generation(folder, old, contents, embedder, base)
        prepared = replace(prepared, counterpart=old.generation)
        opened(folder, prepared)
        new = replace(old, prepared=prepared)
        commit(folder, new)
    with writing(folder):
        remove_leftovers(folder, new)
    return curve


def _replace(
    folder: Path, current: CatalogueManifest, new: CatalogueManifest, *, prepared: CatalogueManifest | None
) -> None:
    """Make another generation of the folder the current one, and `current` the one before."""
    _require_model(folder, new)
    previous = replace(current, prepared=None, previous=None, counterpart=new.generation)
    new = replace(new, prepared=prepared, previous=previous)
    with changing(folder, current):
        commit(folder, new)
    with writing(folder):
        remove_leftovers(folder, new)
    # A `reembed` that was killed after it had prepared the generation has left these; one that works has the lock.
    with suppress(CatalogueError), locked(folder, name=REEMBED_LOCK):
        _remove_working_files(folder, new.fingerprint)


def _require_other(manifest: CatalogueManifest, engine: Engine, folder: Path) -> None:
    """Raise CatalogueError where the current generation has the engine's model."""
    if manifest.fingerprint == engine.fingerprint:
        raise CatalogueError(
            f"{folder}: expected another model than that of the current generation, found the same one, fingerprint "
            f"{engine.fingerprint}"
        )


def _require_model(folder: Path, manifest: CatalogueManifest) -> None:
    """Raise CatalogueError unless the model of a generation is where the generation says."""
    path = find_model(folder.resolve(), manifest)
    try:
        found = Artifact.open(bundled.model_path() if path is None else path).manifest.fingerprint
    except (ClipshelfError, OSError) as error:
        raise CatalogueError(
            f"{folder}: expected the model of generation {manifest.generation}, found: {error}"
        ) from error
    if found != manifest.fingerprint:
        raise FingerprintMismatch(
            f"{folder}: expected the model of generation {manifest.generation}, fingerprint {manifest.fingerprint}, "
            f"found one with {found} at {path or 'the embedded default'}"
        )


def _known_tables(folder: Path, fingerprint: str) -> list[EmbeddingTable]:
    """What the generations beside the current one have from a model."""
    manifest = read_manifest(folder)
    known = [each for each in (manifest.prepared, manifest.previous) if each and each.fingerprint == fingerprint]
    return [table for each in known for table in embedding_tables(opened(folder, each))]


def _generation(catalogue: Catalogue) -> Generation:
    contents = catalogue.contents
    if not isinstance(contents, Generation):
        raise CatalogueError("reembed: expected a saved catalogue, found one in memory")
    return contents


def _remove_working_files(folder: Path, fingerprint: str = "") -> None:
    """Remove the files of unfinished embedding with a model, "" for all models."""
    for path in folder.iterdir():
        if is_reembedding(path.name) and path.name.endswith(fingerprint):
            with suppress(PermissionError):  # some systems do not remove files that are mapped
                path.unlink()
