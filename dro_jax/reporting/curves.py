"""Learning curves: a panel a metric of `metrics.jsonl`, with all runs that have it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dro_jax.reporting.drawing import Canvas, inline, plain
from dro_jax.reporting.html import Html, element, file_name, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle

_EVAL = "eval/"
_OF_THE_MACHINE = (
    "steps_per_second",
    "tokens_per_second",
    "trajectories_per_second",
    "mfu",
)
_COUNTS = ("num_tokens", "num_trajectories")
# First what tells most, then by name.
_FIRST = (
    "reward",
    "win_rate",
    "loss",
    "kl",
    "value/explained_variance",
    "rewards/mean",
)
_MOST_POINTS = 150
# Of the page's three megabytes.
_MOST_BYTES = 900_000
_SIZE = (280, 185)
_LEAST_RANGE = 0.01  # of an axis, as a share of its values


class Curve(NamedTuple):
    """A metric of a run: steps, values."""

    steps: np.ndarray
    values: np.ndarray


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run has lines of metrics.

    Args:
      runs, looks: as for the summary.
    """
    curves = [curves_of(run) for run in runs]
    names = sorted({name for found in curves for name in found}, key=_order)
    if not names:
        return None
    figures, parts = {}, {}
    left_out, size = [], 0
    for name in names:
        if size > _MOST_BYTES:
            left_out.append(name)
            continue
        file = file_name(f"curve {name}", figures)
        figures[file] = drawn = draw(name, [found.get(name) for found in curves], looks)
        said = _said(name, curves, looks)
        panel = inline(drawn, file, f"{name} by step", said, class_="plot small")
        size += len(panel.encode())
        parts.setdefault(_group(name), []).append(panel)
    shown = [_shown(title, panels) for title, panels in parts.items()]
    if left_out:
        shown.append(
            element("p", f"{len(left_out)} more are in tables/learning_curves.csv: ",
                    ", ".join(left_out), ".", class_="note")
        )  # fmt: skip
    body = lines(
        element(
            "p",
            "What each run logged while it trained, against its step. "
            f"A curve of more than {_MOST_POINTS} points is drawn by that many of them.",
        ),
        legend(looks, [bool(found) for found in curves]),
        *shown,
    )
    rows = [
        (look.label, name, int(step), float(value))
        for look, found in zip(looks, curves, strict=True)
        for name, curve in found.items()
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    tables = {"learning_curves": Table(("run", "metric", "step", "value"), rows)}
    return Section("learning-curves", "Learning curves", body, tables, figures)


def curves_of(run: ReportedRun) -> dict[str, Curve]:
    """A run's metrics by name; what was not finite is left out."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in run.metrics:
        for name, value in line.items():
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if name != "step" and is_number and isinstance(line.get("step"), int):
                found.setdefault(name, []).append((line["step"], value))
    return {
        name: Curve(*map(np.array, zip(*points, strict=True)))
        for name, points in found.items()
    }


def legend(looks: Sequence[RunStyle], shown: Sequence[bool]) -> Html:
    """Which mark is whose."""
    names = [
        element("li", look.name())
        for look, is_shown in zip(looks, shown, strict=True)
        if is_shown
    ]
    return element("ul", names, class_="legend", aria_label="Runs")


def draw(name: str, curves: Sequence[Curve | None], looks: Sequence[RunStyle]):
    """One panel: a line a run, its mark at the end."""
    with Canvas(*_SIZE) as drawn:
        axes = drawn.add_subplot()
        for curve, look in zip(curves, looks, strict=True):
            if curve is None:
                continue
            count = len(curve.steps)
            kept = np.unique(np.linspace(0, count - 1, _MOST_POINTS).astype(int))
            steps, values = curve.steps[kept], curve.values[kept]
            axes.plot(
                steps, values, color=look.colour, linestyle=look.line, linewidth=1.4,
                marker=look.mark, markersize=5, markevery=[-1], label=short(look.label),
            )  # fmt: skip
        axes.set_title(name, loc="left")
        axes.set_xlabel("step")
        axes.locator_params(nbins=5)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.6g}")
        axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 5))
        _widen(axes)
        plain(axes, "y")
    return drawn


def _widen(axes) -> None:
    """Gives room to what hardly changes: rounding must not look like a curve."""
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    if high - low < _LEAST_RANGE * abs(middle):
        half = _LEAST_RANGE * abs(middle) / 2
        axes.set_ylim(middle - half, middle + half)


def _group(name: str) -> str:
    if name.startswith(_EVAL):
        return "On held-out data"
    if name in _OF_THE_MACHINE:
        return "Speed"
    return "On training data"


def _order(name: str) -> tuple:
    groups = ("On held-out data", "On training data", "Speed")
    inner = name.removeprefix(_EVAL)
    first = next((n for n, x in enumerate(_FIRST) if inner == x), len(_FIRST))
    return groups.index(_group(name)), inner in _COUNTS, first, name


def _shown(title: str, panels: Sequence[Html]) -> Html:
    inside = element("div", lines(*panels), class_="panels")
    summary = element("summary", f"{title} ({len(panels)})")
    return element("details", summary, inside, open=title == "On held-out data")


def _said(name: str, curves, looks: Sequence[RunStyle]) -> str:
    parts = []
    for found, look in zip(curves, looks, strict=True):
        if (curve := found.get(name)) is not None:
            first, last = curve.values[0], curve.values[-1]
            steps = f"steps {curve.steps[0]} to {curve.steps[-1]}"
            parts.append(f"{look.label}: from {first:.4g} to {last:.4g}, {steps}")
    return "; ".join(parts) + "."
