"""Exports the text tower of the embedded model again, and keeps its vision tower: `python -m recipe.text_tower`.

The text tower is MiniLM, frozen: its weights are those of the package, whatever the head of the vision tower learnt. So
a change of the exporter needs neither pictures nor training to reach it. No node is taken back (`int8.simplify`): the
fidelity that these nodes keep is worth their time here.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from clipshelf.files import FileRecord
from clipshelf.model.artifact import MANIFEST, Artifact, TowerName
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, Pixels, TokenIds
from clipshelf_export.artifact_folder import open_draft
from clipshelf_export.checkpoints import sentence_model
from clipshelf_export.checkpoints.reference import TextReference
from clipshelf_export.checkpoints.towers import Checkpoint
from clipshelf_export.measure.judge import Target
from clipshelf_export.measure.samples import text_samples
from clipshelf_export.tower_export import TowerExport, TowerOptions

from .text import model_folder

_DEFAULT = Path(__file__).resolve().parents[1] / "default"
_TOWER: TowerName = "text"
# What the artifact had before the kernels, less 0.001. Against the artifact that is replaced, each run could lose more.
_FLOORS = {"cosine_mean": 0.9977, "centred_mean": 0.9974, "top10_overlap": 0.9686}


@dataclass(frozen=True)
class TextAlone:
    """A text model in the place of a model of both towers."""

    text: TextReference

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Raises ExportError: there is no vision model."""
        raise ExportError(f"expected texts, found {len(pixels)} pictures: the vision tower is not exported again")

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of right-padded `input_ids` (B, L) with `mask` (B, L)."""
        return self.text.embed_texts(input_ids, mask)

    def in_double(self) -> TextAlone:
        """Return a copy that computes in fp64."""
        return TextAlone(self.text.in_double())


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m recipe.text_tower", description=__doc__)
    parser.add_argument("--artifact", type=Path, default=_DEFAULT, help="whose text tower is replaced")
    parser.add_argument(
        "--min-overlap", type=float, default=0.965, help="as in make model: the artifact stays below 40 MB"
    )
    parser.add_argument("--threads", type=int, default=available_cpus())
    return parser.parse_args()


def load_checkpoint(old: Artifact) -> Checkpoint:
    """Return MiniLM with the limits of an artifact. Its tower stands in for the vision tower, which is unused."""
    model = sentence_model.load(model_folder(), {"name": "all-MiniLM-L6-v2"})
    spec, manifest = old.manifest.text, old.manifest
    embedding = replace(model.tower.embedding, positions=model.tower.embedding.positions[: spec.max_tokens])
    tower = replace(model.tower, embedding=embedding)
    tokenizer = (old.path / "tokenizer.json").read_text(encoding="utf-8")
    return Checkpoint(
        manifest.family, manifest.source, manifest.licence, manifest.image, spec, tower, tower, tokenizer,
        TextAlone(model.reference),
    )  # fmt: skip


def check_fidelity(record: dict[str, Any]) -> None:
    """Check the int8 record of an export, without the native kernels and with them. Raises ExportError for a loss."""
    if "top10_overlap" not in record.get("kernels", {}):
        raise ExportError("expected the fidelity with the native kernels, which this machine cannot run")
    for path, measured in {"onnxruntime": record, "native kernels": record["kernels"]}.items():
        for name, floor in _FLOORS.items():
            if measured[name] < floor:
                raise ExportError(f"{name} with {path}: expected {floor} or more, found {measured[name]}")


def main() -> None:
    """Write the artifact anew, whole or not at all."""
    args = arguments()
    old = Artifact.open(args.artifact)
    checkpoint = load_checkpoint(old)
    samples = text_samples(checkpoint, None)
    target = Target.with_overlap(args.min_overlap)
    with open_draft(args.artifact, overwrite=True) as draft:
        for name in old.manifest.files:
            if not name.startswith(f"{_TOWER}.onnx"):
                shutil.copyfile(old.path / name, draft.artifact / name)
        options = TowerOptions(("int8",), target, args.threads, simplify=False)
        record = TowerExport(_TOWER, checkpoint, samples, options, draft).write()
        check_fidelity(record["int8"])
        accepted = {"accepted": {"top10_overlap": target.overlap, "centred": target.centred}}
        manifest = replace(
            old.manifest,
            files={path.name: FileRecord.of(path) for path in sorted(draft.artifact.iterdir())},
            parity={**old.manifest.parity, _TOWER: record},
            calibration={**old.manifest.calibration, _TOWER: samples.as_record() | accepted},
        )
        (draft.artifact / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        Artifact.open(draft.artifact)


if __name__ == "__main__":
    main()
