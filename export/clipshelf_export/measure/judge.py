"""The judge of a tower: measures plans against the original model and accepts the ones that reach a target.

A plan is measured on two sets of samples. It must first reach the target with a margin on the *choosing* samples, which
are used to pick one plan over another. Only then is it measured on the *final* samples, which accept or refuse it and
decide nothing else; the export reports their fidelity, which is therefore not biased by the choice. After a refusal the
margin grows, and the search goes on with the choosing samples.

A *rung* is a plan that was measured; the judge keeps a line of text for each, and the manifest records them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from clipshelf.runtime.native import Kernels
from clipshelf.types import FloatArray

from clipshelf_export.checkpoints.towers import Tower
from clipshelf_export.graphs.build import write_graph
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure import fidelity
from clipshelf_export.measure.fidelity import Fidelity
from clipshelf_export.measure.sessions import embed, open_session

# The share of the allowed loss that a plan must not use up on the choosing samples, since other samples of the same
# kind may lose a little more. Each refusal by the final samples adds as much again.
MARGIN = 0.15
# How many times the loss of a plan a simpler one may have.
SIMPLER_LOSS_FACTOR = 1.2
# The difference of a centred cosine between two orders of summation in fp32.
COSINE_ROUNDING = 1e-6


@dataclass(frozen=True)
class Target:
    """The fidelity that int8 must reach, as means over samples.

    - `overlap`: of the 10 nearest neighbours.
    - `centred`: the centred cosine.
    """

    overlap: float = 0.97
    centred: float = 0.995

    @classmethod
    def with_overlap(cls, overlap: float) -> Target:
        """Return a target with another overlap, and a centred loss changed by the same factor as the overlap's loss."""
        default = cls()
        factor = (1 - overlap) / (1 - default.overlap)
        return cls(overlap, min(1 - factor * (1 - default.centred), 1 - COSINE_ROUNDING))

    def is_reached(self, measured: Fidelity, margin: float = 0.0) -> bool:
        """Tell whether `measured` reaches this target with the share `margin` of the allowed loss unused."""
        usable = 1 - margin
        centred_reached = measured.centred_mean >= 1 - usable * (1 - self.centred)
        return centred_reached and measured.top10_overlap >= 1 - usable * (1 - self.overlap)


@dataclass(frozen=True)
class Accepted:
    """An accepted plan and its fidelity on the final samples.

    - `kernels`: its fidelity with the native kernels; None where the graph has none of their operators, or the library
      was not there.
    """

    plan: Plan
    fidelity: Fidelity
    kernels: Fidelity | None = None


@dataclass
class Judge:
    """Measures plans of one tower, and records its rungs.

    - `name`: of the tower, for messages.
    - `tower`: the tower.
    - `choosing_samples`, `final_samples`: pictures, uint8 (S, S, 3), or texts, int64 (L,).
    - `reference`: embeddings (n, D) by the original model: of the choosing samples, then of the final ones.
    - `scratch`: the file to which graphs are written while they are measured.
    - `threads`: of a measurement.
    - `target`: what a plan must reach.
    - `kernels`: the native kernels, None where the library is not there.
    - `margin`: the present margin on the choosing samples.
    - `rungs`: a line for each measured plan.
    """

    name: str
    tower: Tower
    choosing_samples: Sequence[Any]
    final_samples: Sequence[Any]
    reference: FloatArray
    scratch: Path
    threads: int
    target: Target = field(default_factory=Target)
    kernels: Kernels | None = None
    margin: float = MARGIN
    rungs: list[str] = field(default_factory=list)

    def max_difference(self, plan: Plan) -> float:
        """Return the largest difference of `plan` from the original in any component of any embedding."""
        samples = [*self.choosing_samples, *self.final_samples]
        return fidelity.compare(self.reference, self._embed(plan, samples)).difference

    def measure_choosing(self, plan: Plan, subset: slice = slice(None)) -> Fidelity:
        """Return the fidelity of `plan` on a subset of the choosing samples, by default on all."""
        reference = self.reference[: len(self.choosing_samples)][subset]
        return fidelity.compare(reference, self._embed(plan, self.choosing_samples[subset]))

    def measure_final(self, plan: Plan) -> Fidelity:
        """Return the fidelity of `plan` on the final samples."""
        reference = self.reference[len(self.choosing_samples) :]
        return fidelity.compare(reference, self._embed(plan, self.final_samples))

    def measure_kernels(self, plan: Plan) -> Fidelity | None:
        """Return the fidelity of `plan` with the native kernels on the final samples.

        None where the graph has none of their operators, or the library is not there.
        """
        if self.kernels is None or not self._write(plan).count_kernels():
            return None
        reference = self.reference[len(self.choosing_samples) :]
        return fidelity.compare(reference, self._run(self.final_samples, self.kernels))

    def passes(self, plan: Plan, label: str, target: Target | None = None) -> bool:
        """Measure `plan` on the choosing samples and record the rung.

        - `label`: names the rung.
        - `target`: to reach; by default the judge's own.

        Returns whether the plan reaches the target with the margin.
        """
        measured = self.measure_choosing(plan)
        self.rungs.append(f"{label}: {measured.summary()}")
        return (target or self.target).is_reached(measured, self.margin)

    def target_near(self, plan: Plan) -> Target:
        """Return the target, to be reached with the margin, that a simpler plan than `plan` must reach.

        It allows `SIMPLER_LOSS_FACTOR` times the loss of `plan`, and never more than the judge's own target.
        """
        measured, usable = self.measure_choosing(plan), max(1 - self.margin, COSINE_ROUNDING)
        overlap, centred = (
            1 - SIMPLER_LOSS_FACTOR * (1 - value) / usable for value in (measured.top10_overlap, measured.centred_mean)
        )
        return Target(max(overlap, self.target.overlap), max(centred, self.target.centred))

    def accept(self, plan: Plan) -> Accepted | None:
        """Measure `plan` on the final samples and record the rung.

        Returns the accepted plan, or None where it misses the target, with the native kernels or without; then the
        margin has grown.
        """
        measured, on_kernels = self.measure_final(plan), self.measure_kernels(plan)
        reached = self.target.is_reached(measured) and (on_kernels is None or self.target.is_reached(on_kernels))
        with_kernels = "" if on_kernels is None else f"; with the kernels {on_kernels.summary()}"
        verdict = "accepted" if reached else "not accepted"
        self.rungs.append(f"{verdict} on the final samples: {measured.summary()}{with_kernels}")
        if reached:
            return Accepted(plan, measured, on_kernels)
        self.margin = min(1.0, self.margin + MARGIN)
        return None

    def failure(self, last_resort: str) -> ExportError:
        """Return the error of a tower that misses the target even with `last_resort`, with the last rung's numbers."""
        return ExportError(
            f"{self.name} int8: expected top-10 overlap >= {self.target.overlap:g} and centred cosine >= "
            f"{self.target.centred:g}, found {self.rungs[-1].rpartition(': ')[2]} with {last_resort} "
            "(--min-overlap accepts less, --calibration-images and --calibration-texts take data of your own)"
        )

    def _embed(self, plan: Plan, samples: Sequence[Any]) -> FloatArray:
        self._write(plan)
        return self._run(samples, None)

    def _write(self, plan: Plan) -> Graph:
        return write_graph(self.tower, plan, self.scratch, to_measure=True)

    def _run(self, samples: Sequence[Any], kernels: Kernels | None) -> FloatArray:
        """Embed samples with the graph that was written last."""
        return embed(open_session(self.scratch, self.threads, kernels), samples, f"{self.name}: measuring")
