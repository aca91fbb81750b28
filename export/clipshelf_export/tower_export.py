"""The export of one tower: prove its fp32 graph against the original model, then write it in each precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.model.artifact import TowerName
from clipshelf.runtime.native import describe_kernels, load_kernels
from clipshelf.types import FloatArray, Precision
from tqdm import tqdm

from clipshelf_export.artifact_folder import Draft
from clipshelf_export.checkpoints.towers import Checkpoint, ConvNet, ReferenceModel, Transformer
from clipshelf_export.graphs.build import check_cuda_kernels, check_fused, check_kernels, write_graph
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.graphs.transformer import fused_nodes
from clipshelf_export.int8 import ladder
from clipshelf_export.int8.calibration import collect_statistics
from clipshelf_export.int8.conv_weights import choose_stored_weights
from clipshelf_export.measure import fidelity
from clipshelf_export.measure.judge import Accepted, Judge, Target
from clipshelf_export.measure.samples import Samples, pad

# The most that a component of a unit-norm embedding may differ between the fp32 graph and torch.
FP32_TOLERANCE = 1e-5
# With very sharp attention torch's own fp32 differs more than that from fp64. Then the graph may differ from torch by
# this many times as much.
FP64_DISTANCE_FACTOR = 2
# Samples that the original model embeds at once.
REFERENCE_BATCH = 8


@dataclass(frozen=True)
class TowerOptions:
    """Options of the export of one tower.

    - `precisions`: to write; the first one is the artifact's default.
    - `target`: what int8 and fp16 must reach.
    - `threads`: of each measurement.
    - `simplify`: whether sites get their cheapest form again where that hardly changes the fidelity (`int8.simplify`).
    """

    precisions: Sequence[Precision]
    target: Target
    threads: int
    simplify: bool = True


class TowerExport:
    """The export of one tower into a draft of the artifact.

    - `name`: "vision" or "text".
    - `checkpoint`: the loaded checkpoint.
    - `samples`: of this tower.
    - `options`: what to write, and the target.
    - `draft`: the folders to write to.
    """

    def __init__(
        self, name: TowerName, checkpoint: Checkpoint, samples: Samples, options: TowerOptions, draft: Draft
    ) -> None:
        self._name, self._checkpoint, self._samples, self._options = name, checkpoint, samples, options
        self._tower = checkpoint.vision if name == "vision" else checkpoint.text
        self._folder, self._scratch = draft.artifact, draft.scratch / f"{name}.onnx"
        self._judge = Judge(
            name,
            self._tower,
            samples.choosing,
            samples.final,
            self._embed(checkpoint.reference),
            self._scratch,
            options.threads,
            options.target,
            load_kernels(),
        )

    def write(self) -> dict[str, Any]:
        """Write the graph of each precision.

        Returns the record of fidelity by precision, for the manifest. Raises ExportError where a graph differs from the
        original model by more than it may.
        """
        self._prove_fp32()
        return {precision: self._write(precision) for precision in self._options.precisions}

    def _prove_fp32(self) -> None:
        """Compare the fp32 graph with the original model in torch; ExportError where they differ too much."""
        difference, tolerance = self._judge.max_difference(Plan()), FP32_TOLERANCE
        # `not <=` rather than `>`, so that NaN is a difference
        if not difference <= tolerance and (double := self._checkpoint.reference.in_double()):
            fp64_distance = fidelity.compare(self._embed(double), self._judge.reference).difference
            tolerance = max(FP32_TOLERANCE, FP64_DISTANCE_FACTOR * fp64_distance)
        if not difference <= tolerance:
            raise ExportError(
                f"{self._name} fp32: expected agreement with torch to {tolerance}, found a difference of {difference}"
            )

    def _embed(self, model: ReferenceModel) -> FloatArray:
        """Return embeddings (n, D) of the choosing samples and the final ones by a torch model."""
        samples = [*self._samples.choosing, *self._samples.final]
        batches = []
        starts = range(0, len(samples), REFERENCE_BATCH)
        for start in tqdm(starts, desc=f"{self._name}: embedding with torch", leave=False, disable=None):
            batch = samples[start : start + REFERENCE_BATCH]
            if self._name == "vision":
                batches.append(model.embed_images(np.stack(batch)))
            else:
                batches.append(model.embed_texts(*pad(batch, self._checkpoint.text_spec.pad_id)))
        return np.concatenate(batches)

    def _write(self, precision: Precision) -> dict[str, Any]:
        """Write one precision and return the record of its fidelity."""
        accepted = self._accept_int8() if precision == "int8" else self._accept_float(precision)
        is_default = precision == self._options.precisions[0]
        path = self._folder / (f"{self._name}.onnx" if is_default else f"{self._name}.{precision}.onnx")
        graph = write_graph(self._tower, accepted.plan, path)
        if isinstance(self._tower, Transformer):
            expected = fused_nodes(self._tower, accepted.plan)
            check_fused(path, self._scratch, graph, expected, precision=precision)
            if self._judge.kernels is not None:
                check_kernels(path, self._scratch, graph, self._judge.kernels)
        record: dict[str, Any] = accepted.fidelity.as_record()
        if precision == "fp16":
            check_cuda_kernels(path, graph)
            record["stream"] = "fp16" if accepted.plan.fp16_stream else "fp32"
        if precision == "int8":
            record["rungs"] = self._judge.rungs
        if graph.count_kernels():
            record["kernels"] = self._kernels_record(accepted)
        return record

    def _kernels_record(self, accepted: Accepted) -> dict[str, Any]:
        """Return the manifest's record of the fidelity with the native kernels, or why there is none."""
        if accepted.kernels is None:
            return {"measured_on": describe_kernels()}
        return {"measured_on": describe_kernels(), **accepted.kernels.as_record()}

    def _accept_float(self, precision: Precision) -> Accepted:
        """Measure the plan of fp32, or those of fp16 in turn; ExportError where fp16 misses the target."""
        if precision == "fp32":
            return Accepted(Plan(), self._judge.measure_final(Plan()))
        plans = [Plan("fp16"), Plan("fp16", fp32_stream=True)]
        for plan in plans if isinstance(self._tower, Transformer) else plans[:1]:
            with np.errstate(invalid="ignore"):  # infinity, where fp16 overflows
                measured = self._judge.measure_final(plan)
            if self._options.target.is_reached(measured):
                return Accepted(plan, measured)
        raise ExportError(
            f"{self._name} fp16: expected a faithful graph, found {measured.summary()} (fp32 and int8 may do: "
            "they don't compute in 16 bits)"
        )

    def _accept_int8(self) -> Accepted:
        """Find the int8 plan that the judge accepts; ExportError if there is none."""
        if isinstance(self._tower, ConvNet):
            return choose_stored_weights(self._tower, self._judge)
        statistics = collect_statistics(
            self._tower,
            self._samples.calibration,
            self._scratch,
            self._options.threads,
            f"{self._name}: calibrating",
        )
        return ladder.climb(self._tower, statistics, self._judge, simplify=self._options.simplify)
