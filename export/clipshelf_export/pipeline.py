"""Checkpoint to artifact: load, build, prove against torch, calibrate, climb the ladder, measure, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.files import FileRecord
from clipshelf.model.artifact import MANIFEST, TOKENIZER, Artifact, Manifest, Tower
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, PathLike, Precision
from tqdm import tqdm

from clipshelf_export import artifact_folder
from clipshelf_export.checkpoints import load
from clipshelf_export.checkpoints.towers import Checkpoint, ConvNet, Reference, Transformer
from clipshelf_export.graphs import build, transformer
from clipshelf_export.graphs.builder import OPSET
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.int8.conv_weights import Rounding
from clipshelf_export.int8.ladder import Ladder
from clipshelf_export.measure import fidelity
from clipshelf_export.measure.fidelity import Fidelity
from clipshelf_export.measure.judge import Judge, Target
from clipshelf_export.measure.samples import Samples, image_samples, pad, text_samples

# What fp32 may differ from torch, in any component of a unit-norm embedding; or, where torch's own fp32 is further from
# fp64 than that, as it is with very sharp attention, so many times its distance.
EXACT, TIMES = 1e-5, 2


@dataclass(frozen=True)
class Options:
    """What `export` was asked for."""

    precisions: Sequence[Precision] = ("int8",)
    calibration_images: Path | None = None
    calibration_texts: Path | None = None
    targets: Mapping[Tower, Target] = field(default_factory=dict)
    threads: int = 1


def export(
    source: PathLike,
    out: PathLike,
    *,
    precisions: Sequence[Precision] = ("int8",),
    calibration_images: PathLike | None = None,
    calibration_texts: PathLike | None = None,
    min_overlap: Mapping[Tower, float] | float | None = None,
    overwrite: bool = False,
    threads: int | None = None,
) -> Artifact:
    """Turn the checkpoint `source`, a folder or a hub id, into the artifact `out`, which appears whole or not at all.

    `precisions`: the first is the artifact's default. `min_overlap`: accept int8 with less top-10 overlap than 0.97, or
    ask for more, and for as many times more or less centred loss; of both towers, or by tower.
    Raises ExportError or MissingExtra.
    """
    options = Options(
        precisions,
        None if calibration_images is None else Path(calibration_images),
        None if calibration_texts is None else Path(calibration_texts),
        _targets(min_overlap),
        threads or available_cpus(),
    )
    folder = Path(out)
    artifact_folder.check(folder, overwrite=overwrite)
    checkpoint = load.load(str(source))
    with artifact_folder.draft(folder, overwrite=overwrite) as (made, work):
        manifest = _make(checkpoint, options, made, work)
        (made / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return Artifact.open(folder)


def _targets(min_overlap: Mapping[Tower, float] | float | None) -> dict[Tower, Target]:
    """What int8 must reach, by tower."""
    towers: tuple[Tower, ...] = get_args(Tower)
    given = min_overlap if isinstance(min_overlap, Mapping) else dict.fromkeys(towers, min_overlap)
    if not set(given) <= set(towers) or not all(least is None or 0 <= least <= 1 for least in given.values()):
        raise ExportError(f"min_overlap: expected numbers from 0 to 1 for {' or '.join(towers)}, found {min_overlap}")
    wanted = {tower: given.get(tower) for tower in towers}
    return {tower: Target() if least is None else Target.with_overlap(least) for tower, least in wanted.items()}


def _make(checkpoint: Checkpoint, options: Options, made: Path, work: Path) -> Manifest:
    """Write everything but the manifest to `made`, and return it."""
    tokenizer = json.dumps(json.loads(checkpoint.tokenizer_json), ensure_ascii=False, separators=(",", ":"))
    (made / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    samples: dict[Tower, Samples] = {
        "vision": image_samples(checkpoint.image, options.calibration_images),
        "text": text_samples(checkpoint, options.calibration_texts),
    }
    parity: dict[str, Any] = {}
    for tower, part in samples.items():
        parity[tower] = _Tower(tower, checkpoint, options, part, folders=(made, work)).write()
    calibration: dict[str, Any] = {tower: part.describe() for tower, part in samples.items()}
    for tower, target in options.targets.items():
        if target != Target():
            calibration[tower]["accepted"] = {"top10_overlap": target.overlap, "centred": target.centred}
    return Manifest(
        family=checkpoint.family,
        source=checkpoint.source,
        dim=checkpoint.vision.dim,
        precision=options.precisions[0],
        opset=OPSET,
        image=checkpoint.image,
        text=checkpoint.text_spec,
        files={path.name: FileRecord.of(path) for path in sorted(made.iterdir())},
        licence=checkpoint.licence,
        parity=parity,
        calibration=calibration,
    )


class _Tower:
    """One tower on its way into the artifact."""

    def __init__(
        self, name: Tower, checkpoint: Checkpoint, options: Options, samples: Samples, *, folders: tuple[Path, Path]
    ) -> None:
        self.name, self.options, self.samples = name, options, samples
        self.tower = checkpoint.vision if name == "vision" else checkpoint.text
        self.made, self.work = folders[0], folders[1] / f"{name}.onnx"
        self.original, self.pad_id = checkpoint.reference, checkpoint.text_spec.pad_id
        parts = (samples.choose, samples.measure, self._embedded(self.original))
        self.judge = Judge(name, self.tower, *parts, self.work, options.threads, options.targets[name])

    def write(self) -> dict[str, Any]:
        """Write the tower in each precision and return its parity by precision."""
        self._prove()
        return {precision: self._write(precision) for precision in self.options.precisions}

    def _prove(self) -> None:
        """Hold the fp32 graph against torch."""
        found, most = self.judge.difference(Plan()), EXACT
        if not found <= most and (double := self.original.double()):
            most = max(EXACT, TIMES * fidelity.compare(self._embedded(double), self.judge.reference).difference)
        if not found <= most:
            raise ExportError(
                f"{self.name} fp32: expected agreement with torch to {most}, found a difference of {found}"
            )

    def _embedded(self, reference: Reference) -> FloatArray:
        """Embeddings (n, D) by an original of what the judge compares on, a few inputs at a time."""
        items = [*self.samples.choose, *self.samples.measure]
        rows = []
        starts = range(0, len(items), 8)
        for start in tqdm(starts, desc=f"{self.name}: the original in torch", leave=False, disable=None):
            batch = items[start : start + 8]
            if self.name == "vision":
                rows.append(reference.images(np.stack(batch)))
            else:
                rows.append(reference.texts(*pad(batch, self.pad_id)))
        return np.concatenate(rows)

    def _write(self, precision: Precision) -> dict[str, Any]:
        if precision == "int8":
            plan, found = self._int8()
        else:
            plan = Plan(precision)
            found = self.judge.measure(plan)
            if precision == "fp16" and not self.judge.target.reached(found):
                raise ExportError(
                    f"{self.name} fp16: expected a faithful graph, found {found.brief()} (fp32 and int8 may do: "
                    "they don't compute in 16 bits)"
                )
        first = precision == self.options.precisions[0]
        path = self.made / (f"{self.name}.onnx" if first else f"{self.name}.{precision}.onnx")
        graph = build.write(self.tower, plan, path)
        if isinstance(self.tower, Transformer):
            build.check_fused(path, self.work, graph, transformer.fused(self.tower, plan), precision=precision)
        record: dict[str, Any] = found.as_record()
        return record | {"rungs": self.judge.rungs} if precision == "int8" else record

    def _int8(self) -> tuple[Plan, Fidelity]:
        if isinstance(self.tower, ConvNet):
            return Rounding(self.tower, self.judge).find()
        label = f"{self.name}: calibrating"
        stats = build.collect(self.tower, self.samples.calibrate, self.work, self.options.threads, label)
        return Ladder(self.tower, stats, self.judge).climb()


def parity_table(manifest: Manifest) -> str:
    """The measured fidelity of an artifact as a small text table."""
    return fidelity.table(_flat(manifest.parity))


def _flat(parity: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{tower} {precision}": record for tower, found in parity.items() for precision, record in found.items()}
