"""Reward against KL: what each run gained, and how far it went for it."""

from collections.abc import Sequence
from typing import NamedTuple

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure
from dro_jax.reporting.drawing import SOFT, Canvas, inline, plain
from dro_jax.reporting.html import Html, element, file_name, lines
from dro_jax.reporting.label_places import label_marks
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.summary import all_figures, first_reward, totals

_KL, _REWARD = "kl", "reward"
_SIZE = (400, 310)
_TEXT = (
    "Each mark is a run: how far its policy is from the reference, and what reward its "
    "responses earn; lines are 95% intervals. The frontier joins the runs than which no "
    "other has both more reward and less KL, by their means: where intervals meet, its "
    "order is not certain. Rows without a KL, as logged data, are dotted lines."
)


class Point(NamedTuple):
    """A run in the plane."""

    look: RunStyle
    kl: Estimate
    reward: Estimate


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run has both figures.

    Args:
      runs, looks: as for the summary.
    """
    names = totals(all_figures(runs), first_reward(runs))
    figures, shown, data, rows = {}, [], {}, []
    for name in names:
        points = points_of(runs, looks, name)
        if not points:
            continue
        front = {point.look.label for point in frontier(points)}
        file = file_name(f"{name} against kl", figures)
        figures[file] = draw(runs, looks, name)
        shown.append(_inline(name, points, file, figures[file]))
        data[name] = {"frontier": sorted(front)}
        for look, kl, reward in points:
            ends = (kl.value, kl.low, kl.high, reward.value, reward.low, reward.high)
            rows.append((name, look.label, *ends, str(look.label in front).lower()))
    if not figures:
        return None
    columns = ("kl", "kl_low", "kl_high", "reward", "reward_low", "reward_high")
    table = Table(("figure", "run", *columns, "on_frontier"), rows)
    body = lines(element("p", _TEXT), element("div", lines(*shown), class_="figures"))
    return Section(
        "reward-against-kl", "Reward against KL", body, {"reward_against_kl": table},
        figures, data,
    )  # fmt: skip


def points_of(
    runs: Sequence[ReportedRun], looks: Sequence[RunStyle], name: str
) -> list[Point]:
    """The runs that have a KL and this reward."""
    return [
        Point(look, run.evaluated.figures[_KL], run.evaluated.figures[name])
        for run, look in zip(runs, looks, strict=True)
        if _KL in run.evaluated.figures and name in run.evaluated.figures
    ]


def frontier(points: Sequence[Point]) -> list[Point]:
    """Points than which none has at least the reward at no more KL, by rising KL."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.kl.value, -p.reward.value)):
        if not found or point.reward.value > found[-1].reward.value:
            found.append(point)
    return found


def draw(runs: Sequence[ReportedRun], looks: Sequence[RunStyle], name: str):
    """The plane with marks, intervals and the frontier."""
    points = points_of(runs, looks, name)
    with Canvas(*_SIZE) as drawn:
        axes = drawn.add_subplot()
        front = [(p.kl.value, p.reward.value) for p in frontier(points)]
        if len(front) > 1:
            axes.plot(*zip(*front, strict=True), color=SOFT, linewidth=1.2, zorder=1)
        for look, kl, reward in points:
            for ends in _interval_lines(kl, reward):
                axes.plot(
                    *zip(*ends, strict=True), color=look.colour, linewidth=1.4,
                    alpha=0.75, zorder=2,
                )  # fmt: skip
            axes.plot(
                kl.value, reward.value, look.mark, color=look.colour, ms=8, zorder=3
            )
        for run, look in zip(runs, looks, strict=True):
            level = run.evaluated.figures.get(name)
            if level is None or _KL in run.evaluated.figures:
                continue
            axes.axhline(level.value, color=look.colour, linestyle=":", linewidth=1.3)
            axes.annotate(
                short(look.label), (1, level.value), xycoords=("axes fraction", "data"),
                xytext=(-2, 3), textcoords="offset points", ha="right", color=look.colour,
            )  # fmt: skip
        row = figure(name)
        title = row.title
        if name == _REWARD and (first := first_reward(runs)):
            title = f"{title} ({first})"
        axes.set(xlabel=f"{figure(_KL).title}, {figure(_KL).unit}", ylabel=title)
        axes.margins(x=0.12, y=0.14)
        plain(axes)
        _label(axes, points, front)
    return drawn


def _label(axes, points: Sequence[Point], front: Sequence[tuple[float, float]]) -> None:
    lines = [front] if len(front) > 1 else []
    for _, kl, reward in points:
        lines += _interval_lines(kl, reward)
    marks = [(point.kl.value, point.reward.value) for point in points]
    label_marks(axes, [short(point.look.label) for point in points], marks, lines)


def _interval_lines(kl: Estimate, reward: Estimate) -> list[list[tuple[float, float]]]:
    lines = []
    if kl.low is not None and kl.high is not None:
        lines.append([(kl.low, reward.value), (kl.high, reward.value)])
    if reward.low is not None and reward.high is not None:
        lines.append([(kl.value, reward.low), (kl.value, reward.high)])
    return lines


def _inline(name: str, points: Sequence[Point], file: str, drawn) -> Html:
    said = "; ".join(
        f"{look.label}: {format(reward.value, figure(name).format)} at "
        f"{format(kl.value, figure(_KL).format)} nats"
        for look, kl, reward in points
    )
    title = f"{figure(name).title} against KL to the reference"
    on_it = ", ".join(point.look.label for point in frontier(points))
    return inline(drawn, file, title, f"{said}. Frontier: {on_it}.")
