"""The report of `clipshelf evaluate` as one HTML page that loads nothing: its plots are SVG inside it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from clipshelf.cli.html_card import page_file
from clipshelf.display import one_line
from clipshelf.evaluate.bootstrap import Estimate
from clipshelf.evaluate.evaluation import Evaluation
from clipshelf.evaluate.metrics import METRICS, SESSION_METRICS
from clipshelf.files import durable
from clipshelf.types import PathLike

_EXPLANATIONS = {
    "recall": "share of what was chosen that is in the list",
    "ndcg": "the same, where the top of the list counts more",
    "mrr": "one over the place of the first product that was chosen",
    "novelty": "bits that a recommended product carries; more is rarer in the log",
    "coverage": "share of the catalogue that is recommended to anybody",
}
_NAME_WIDTH, _PLOT_WIDTH, _ROW = 190, 380, 26  # pixels


def write_page(path: PathLike, title: str, evaluation: Evaluation) -> None:
    """Write the report to one HTML file, whole or not at all.

    - `path`: the file.
    - `title`: plain text above it.

    Raises OSError.
    """
    template = Template(resources.files("clipshelf.cli").joinpath("evaluate.html").read_text(encoding="utf-8"))
    first = next(iter(evaluation.metrics))
    page = template.substitute(
        title=_text(title),
        subtitle=f"{evaluation.sessions:,} sessions, {evaluation.products:,} products, lists of {evaluation.k}",
        style=page_file("page.css"),
        plots="\n".join(_plot(metric, evaluation.metrics) for metric in METRICS),
        differences="\n".join(_plot(metric, evaluation.differences) for metric in SESSION_METRICS),
        first=_text(first),
        weights=_weights(evaluation),
    )
    with durable(Path(path)) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def _text(text: str) -> str:
    return escape(one_line(text))


def _weights(evaluation: Evaluation) -> str:
    if evaluation.weights is None:
        return ""
    listed = ", ".join(f"{name} {value:g}" for name, value in evaluation.weights.items())
    return f"<p>Weights that the search found on the other half of the sessions: {_text(listed)}.</p>"


def _plot(metric: str, estimates: Mapping[str, Mapping[str, Estimate]]) -> str:
    """A line for each contender: its value as a dot, its interval as a bar, and both as text."""
    if not estimates:
        return ""
    values = {name: found[metric] for name, found in estimates.items()}
    low, high = (
        min(0.0, *(value.low for value in values.values())),
        max(0.0, *(value.high for value in values.values())),
    )
    scale = _PLOT_WIDTH / ((high - low) or 1.0)
    zero, height = _NAME_WIDTH - low * scale, _ROW * len(values)
    lines = "".join(_line(*item, place, low, scale) for place, item in enumerate(values.items()))
    return (
        f'<figure><figcaption><b>{metric}</b> <span class="soft">{_EXPLANATIONS[metric]}</span></figcaption>'
        f'<svg viewBox="0 0 {_NAME_WIDTH + _PLOT_WIDTH + 190} {height}" role="img" aria-label="{metric}">'
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height}" class="zero"/>{lines}</svg></figure>'
    )


def _line(name: str, estimate: Estimate, place: int, low: float, scale: float) -> str:
    middle = _ROW * (place + 0.5)
    at, start, stop = (_NAME_WIDTH + (value - low) * scale for value in (estimate.value, estimate.low, estimate.high))
    numbers = f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
    return (
        f'<text x="0" y="{middle + 4:.1f}">{_text(name[:28])}</text>'
        f'<line x1="{start:.1f}" x2="{stop:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" class="interval"/>'
        f'<circle cx="{at:.1f}" cy="{middle:.1f}" r="5"/>'
        f'<text x="{_NAME_WIDTH + _PLOT_WIDTH + 12}" y="{middle + 4:.1f}">{numbers}</text>'
    )
