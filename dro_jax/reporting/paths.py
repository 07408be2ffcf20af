"""The way that runs took: reward against KL, samples and time, while they trained.

What is drawn are a run's own evaluations (`eval/sampled/…` of `metrics.jsonl`), which ask
the same prompts each time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dro_jax.reporting.cost import timed
from dro_jax.reporting.curves import legend
from dro_jax.reporting.drawing import Canvas, inline, plain
from dro_jax.reporting.html import element, file_name, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle

REWARD, KL, SAMPLES, SECONDS = "reward", "kl", "samples", "seconds"
_METRICS = {
    REWARD: "eval/sampled/reward",
    KL: "eval/sampled/kl",
    SAMPLES: "samples/total",
}
_AXES = {
    KL: ("KL to the reference, nats", "Reward against KL"),
    SAMPLES: ("responses sampled to train on", "Reward against samples used"),
    SECONDS: ("seconds of steps", "Reward against time"),
}
_SIZE = (380, 290)
_LONGEST_NAME = 36
_TEXT = (
    "Each point is an evaluation of a run while it trained, on the same held-out prompts "
    "each time; thin lines are seeds, the thick one is their mean at the evaluations that "
    "all of them have. A run that samples nothing to train on is a dotted line where "
    "samples are counted, at its last evaluation. Seconds are those of the steps and of "
    "the sampling between them, by the log's steps a second: without compiling, "
    "evaluations and what comes before the first step."
)

Lines = Sequence[Mapping[str, Any]]
Point = dict[str, float]


class Way(NamedTuple):
    """What is drawn alike: the evaluations of a run, or of several seeds of one.

    Attributes:
      look: of all of them.
      runs: the points of each, by step.
    """

    look: RunStyle
    runs: Sequence[Sequence[Point]]

    def mean(self) -> list[Point]:
        """The mean over the runs, at the steps that all of them have."""
        by_step = [{p["step"]: p for p in run} for run in self.runs]
        shared = sorted(set.intersection(*map(set, by_step)))
        found = []
        for step in shared:
            own = [run[step] for run in by_step]
            names = set.intersection(*map(set, own))
            found.append(
                {name: float(np.mean([p[name] for p in own])) for name in names}
            )
        return found


def points_of(metrics: Lines) -> list[Point]:
    """A run's evaluations: step, reward, KL, samples and seconds, as far as it has them.

    Args:
      metrics: the lines of its `metrics.jsonl`.
    """
    found: list[Point] = []
    taken = {line["step"]: seconds for line, seconds in timed(metrics)}
    seconds, samples = 0.0, None
    for line in metrics:
        step = line.get("step")
        if not isinstance(step, int):
            continue
        seconds += taken.get(step, 0.0)
        if _is_number(line.get(_METRICS[SAMPLES])):
            samples = line[_METRICS[SAMPLES]]
        if not _is_number(line.get(_METRICS[REWARD])):
            continue
        point = {"step": step, REWARD: line[_METRICS[REWARD]], SECONDS: seconds}
        if _is_number(line.get(_METRICS[KL])):
            point[KL] = line[_METRICS[KL]]
        if samples is not None:
            point[SAMPLES] = samples
        found.append(point)
    return found


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run was evaluated twice while it trained.

    Args:
      runs, looks: as for the summary.
    """
    return of_seeds(
        (look, [run.metrics]) for run, look in zip(runs, looks, strict=True)
    )


def of_seeds(found: Iterable[tuple[RunStyle, Sequence[Lines]]]) -> Section | None:
    """The same of settings, each with its seeds.

    Args:
      found: a setting's look, and the lines of metrics of each of its runs.
    """
    ways = [Way(look, [points_of(own) for own in runs]) for look, runs in found]
    ways = [way for way in ways if way.runs and all(way.runs)]
    if not any(len(run) > 1 for way in ways for run in way.runs):
        return None
    figures, shown = {}, []
    for axis, (_, title) in _AXES.items():
        if not any(axis in point for way in ways for run in way.runs for point in run):
            continue
        file = file_name(f"training {title.lower()}", figures)
        figures[file] = drawn = draw(ways, axis)
        shown.append(inline(drawn, file, title, _said(ways, axis)))
    body = lines(
        element("p", _TEXT),
        legend([way.look for way in ways], [True] * len(ways)),
        element("div", lines(*shown), class_="figures"),
    )
    columns = ("run", "seed", "step", REWARD, KL, SAMPLES, SECONDS)
    rows = [
        (way.look.label, number, int(point["step"]), *map(point.get, columns[3:]))
        for way in ways
        for number, run in enumerate(way.runs)
        for point in run
    ]
    tables = {"while_training": Table(columns, rows)}
    return Section("while-training", "While they trained", body, tables, figures)


def draw(ways: Sequence[Way], axis: str):
    """Rewards along one axis: a thin line a run, a thick one for the mean of several."""
    with Canvas(*_SIZE) as drawn:
        axes = drawn.add_subplot()
        for way in ways:
            look, mean = way.look, way.mean()
            style = {"color": look.colour, "linestyle": look.line}
            name = short(look.label, _LONGEST_NAME)
            if axis == SAMPLES and not any(
                SAMPLES in p for run in way.runs for p in run
            ):
                level = np.mean([run[-1][REWARD] for run in way.runs])
                axes.axhline(
                    level, color=look.colour, linestyle=":", linewidth=1.3, label=name
                )
                continue
            several = len(way.runs) > 1
            for run in way.runs if several else ():
                axes.plot(*_along(run, axis), **style, linewidth=0.8, alpha=0.45)
            xs, ys = _along(mean, axis)
            axes.plot(
                xs, ys, **style, linewidth=2.0 if several else 1.5, label=name,
                marker=look.mark, markersize=5, markevery=[-1] if xs else None,
            )  # fmt: skip
        axes.set(xlabel=_AXES[axis][0], ylabel="reward")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.locator_params(axis="x", nbins=6)
        plain(axes)
    return drawn


def _along(run: Sequence[Point], axis: str) -> tuple[list[float], list[float]]:
    having = [point for point in run if axis in point]
    return [point[axis] for point in having], [point[REWARD] for point in having]


def _said(ways: Sequence[Way], axis: str) -> str:
    parts = []
    for way in ways:
        xs, ys = _along(way.mean(), axis)
        if xs:
            parts.append(
                f"{way.look.label}: from {ys[0]:.3g} at {xs[0]:.4g} to {ys[-1]:.3g} at "
                f"{xs[-1]:.4g}"
            )
    return "; ".join(parts) + "."
