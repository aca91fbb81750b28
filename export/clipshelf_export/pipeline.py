"""The way of an export: load a checkpoint, and bring each tower into the artifact in each precision."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

from clipshelf.errors import ExportError, MissingExtra
from clipshelf.files import FileRecord
from clipshelf.model.artifact import MANIFEST, TOKENIZER, Artifact, Manifest, TowerName
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import PathLike, Precision

from clipshelf_export.artifact_folder import Draft, check_writable, open_draft
from clipshelf_export.checkpoints.towers import Checkpoint
from clipshelf_export.graphs.functions import OPSET
from clipshelf_export.measure.end_to_end import compare_with_library
from clipshelf_export.measure.fidelity import format_table
from clipshelf_export.measure.judge import Target
from clipshelf_export.measure.samples import Samples, image_samples, text_samples
from clipshelf_export.tower_export import TowerExport, TowerOptions
from clipshelf_export.vocabulary.trim import VocabularyOptions, trim_vocabulary

TOWERS: tuple[TowerName, ...] = get_args(TowerName)
# Packages that an artifact's bytes depend on.
VERSIONED = ("clipshelf", "onnx", "onnxruntime", "tokenizers", "torch", "transformers")


def export(
    source: PathLike,
    out: PathLike,
    *,
    text_source: PathLike | None = None,
    precisions: Sequence[Precision] = ("int8",),
    calibration_images: PathLike | None = None,
    calibration_texts: PathLike | None = None,
    min_overlap: Mapping[TowerName, float] | float | None = None,
    vocabulary_texts: PathLike | None = None,
    vocabulary_languages: Sequence[str] = (),
    overwrite: bool = False,
    threads: int | None = None,
) -> Artifact:
    """Turn a checkpoint into an artifact, which appears whole or not at all.

    - `source`: a folder, or the id of a model on the Hugging Face hub, with `@revision` or without.
    - `out`: the folder of the artifact, new or empty.
    - `text_source`: a folder or hub id of sentence-transformers, whose text tower replaces that of `source`.
    - `precisions`: the first one is the artifact's default.
    - `calibration_images`: a folder with 60 pictures or more; None for the built-in set.
    - `calibration_texts`: a file with 60 texts or more, one a line; None for the built-in set.
    - `min_overlap`: the overlap of the 10 nearest neighbours that int8 must reach, from 0 to 1, for both towers or by
      tower; None for 0.97. The loss of centred cosine that int8 may have changes by the same factor.
    - `vocabulary_texts`: a file with a text per line; None for none.
    - `vocabulary_languages`: codes of ISO 639-1, such as "en". With texts or languages, the artifact keeps the pieces
      that they need alone (`vocabulary.trim`).
    - `overwrite`: whether an artifact in `out` is replaced.
    - `threads`: of each measurement; None for all CPUs.

    Returns the opened artifact. Raises ExportError where the checkpoint, the samples or `out` cannot be used, or where
    a graph is not faithful enough; MissingExtra where a package is missing.
    """
    try:
        from clipshelf_export.checkpoints.load import load_checkpoint
    except ImportError as error:
        raise MissingExtra(f"export needs {error.name}: pip install 'clipshelf[export]'") from error

    options = _Options.of(
        precisions=precisions,
        min_overlap=min_overlap,
        threads=threads,
        images=calibration_images,
        texts=calibration_texts,
        vocabulary=VocabularyOptions(_optional_path(vocabulary_texts), vocabulary_languages),
    )
    check_writable(Path(out), overwrite=overwrite)
    checkpoint = load_checkpoint(str(source), None if text_source is None else str(text_source))
    return _write_artifact(checkpoint, Path(out), options, overwrite=overwrite)


def import_onnx(
    source: PathLike,
    out: PathLike,
    *,
    precisions: Sequence[Precision] = ("int8",),
    calibration_images: PathLike | None = None,
    calibration_texts: PathLike | None = None,
    min_overlap: Mapping[TowerName, float] | float | None = None,
    vocabulary_texts: PathLike | None = None,
    vocabulary_languages: Sequence[str] = (),
    overwrite: bool = False,
    threads: int | None = None,
) -> Artifact:
    """Turn a folder with two ready ONNX towers into an artifact, without torch.

    - `source`: a folder in the layout of immich-app or of onnx-community (`checkpoints.onnx_folder`).

    The other parameters, the result and the errors are those of `export`.
    """
    from clipshelf_export.checkpoints import onnx_folder
    from clipshelf_export.checkpoints.model_card import read_licence

    options = _Options.of(
        precisions=precisions,
        min_overlap=min_overlap,
        threads=threads,
        images=calibration_images,
        texts=calibration_texts,
        vocabulary=VocabularyOptions(_optional_path(vocabulary_texts), vocabulary_languages),
    )
    check_writable(Path(out), overwrite=overwrite)
    folder = Path(source)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "none"
        raise ExportError(f"{folder}: expected a folder with two ONNX towers, found {found}")
    origin = {"name": folder.resolve().name} | ({"licence": licence} if (licence := read_licence(folder)) else {})
    return _write_artifact(onnx_folder.load(folder, origin), Path(out), options, overwrite=overwrite)


@dataclass(frozen=True)
class _Options:
    """Options of an export: how each tower is written, the samples of the user, and the vocabulary."""

    towers: Mapping[TowerName, TowerOptions]
    images: Path | None
    texts: Path | None
    vocabulary: VocabularyOptions

    @classmethod
    def of(
        cls,
        *,
        precisions: Sequence[Precision],
        min_overlap: Mapping[TowerName, float] | float | None,
        threads: int | None,
        images: PathLike | None,
        texts: PathLike | None,
        vocabulary: VocabularyOptions,
    ) -> _Options:
        targets = _targets(min_overlap)
        towers = {name: TowerOptions(precisions, targets[name], threads or available_cpus()) for name in TOWERS}
        return cls(towers, _optional_path(images), _optional_path(texts), vocabulary)


def _write_artifact(checkpoint: Checkpoint, out: Path, options: _Options, *, overwrite: bool) -> Artifact:
    """Write the artifact of a checkpoint whole or not at all; return it."""
    towers, checkpoint = options.towers, trim_vocabulary(checkpoint, options.vocabulary)
    with open_draft(out, overwrite=overwrite) as draft:
        samples: dict[TowerName, Samples] = {
            "vision": image_samples(checkpoint.image_spec, options.images),
            "text": text_samples(checkpoint, options.texts),
        }
        _write_tokenizer(checkpoint, draft)
        parity = {
            str(name): TowerExport(name, checkpoint, samples[name], towers[name], draft).write() for name in TOWERS
        }
        calibration = _calibration_record(samples, {name: towers[name].target for name in TOWERS})
        precision = towers["vision"].precisions[0]
        manifest = _make_manifest(checkpoint, precision, draft, parity=parity, calibration=calibration)
        _write_manifest(manifest, draft)
        if checkpoint.pipeline is not None:
            agreement = compare_with_library(checkpoint, checkpoint.pipeline, draft.artifact, towers["vision"].threads)
            _write_manifest(replace(manifest, end_to_end=agreement), draft)
        Artifact.open(draft.artifact)  # refuses what this version of the engine cannot run, before `out` changes
    return Artifact.open(out)


def parity_table(manifest: Manifest) -> str:
    """Return the measured fidelity of an artifact as a text table, a line per tower and precision."""
    records: dict[str, Mapping[str, Any]] = {}
    for tower, by_precision in manifest.parity.items():
        for precision, record in by_precision.items():
            records[f"{tower} {precision}"] = record
            if "count" in record.get("kernels", {}):
                records[f"{tower} kernels"] = record["kernels"]
    return format_table(records)


def _make_manifest(
    checkpoint: Checkpoint,
    precision: Precision,
    draft: Draft,
    *,
    parity: Mapping[str, Any],
    calibration: Mapping[str, Any],
) -> Manifest:
    """Return the manifest of the files that the draft holds."""
    return Manifest(
        family=checkpoint.family,
        source=checkpoint.source,
        dim=checkpoint.vision.dim,
        precision=precision,
        opset=OPSET,
        image=checkpoint.image_spec,
        text=checkpoint.text_spec,
        files={path.name: FileRecord.of(path) for path in sorted(draft.artifact.iterdir())},
        licence=checkpoint.licence,
        parity=parity,
        calibration=calibration,
        logits=checkpoint.logits,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    """Return the versions of the packages in `VERSIONED` that are installed under these names."""
    versions = {}
    for name in VERSIONED:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _write_manifest(manifest: Manifest, draft: Draft) -> None:
    (draft.artifact / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def _optional_path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _targets(min_overlap: Mapping[TowerName, float] | float | None) -> dict[TowerName, Target]:
    """Return the target of each tower. Raises ExportError for an unknown tower or a number outside [0, 1]."""
    overlaps = dict(min_overlap) if isinstance(min_overlap, Mapping) else dict.fromkeys(TOWERS, min_overlap)
    numbers = [overlap for overlap in overlaps.values() if overlap is not None]
    if not set(overlaps) <= set(TOWERS) or not all(0 <= overlap <= 1 for overlap in numbers):
        raise ExportError(f"min_overlap: expected numbers from 0 to 1 for {' or '.join(TOWERS)}, found {min_overlap}")
    targets = {}
    for name in TOWERS:
        overlap = overlaps.get(name)
        targets[name] = Target() if overlap is None else Target.with_overlap(overlap)
    return targets


def _write_tokenizer(checkpoint: Checkpoint, draft: Draft) -> None:
    """Write tokenizer.json without white space."""
    tokenizer = json.dumps(json.loads(checkpoint.tokenizer_json), ensure_ascii=False, separators=(",", ":"))
    (draft.artifact / TOKENIZER).write_text(tokenizer, encoding="utf-8")


def _calibration_record(samples: Mapping[TowerName, Samples], targets: Mapping[TowerName, Target]) -> dict[str, Any]:
    """Return the manifest's record of the samples, and of targets other than the default."""
    record: dict[str, Any] = {name: samples[name].as_record() for name in samples}
    for name, target in targets.items():
        if target != Target():
            record[name]["accepted"] = {"top10_overlap": target.overlap, "centred": target.centred}
    return record
