"""Reward against KL: every setting of every objective in one plane."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure
from dro_jax.reporting.drawing import SOFT, Canvas, inline, plain
from dro_jax.reporting.html import Html, element
from dro_jax.reporting.label_places import label_marks
from dro_jax.reporting.section import Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept.figures import condition_cells, ends
from dro_jax.reporting.swept.settings import Cell, Setting

_KL = "kl"
_SIZE = (520, 400)
WIDE = 12.0  # most over least KL, from which on its axis is drawn by logarithms


class Point(NamedTuple):
    """A setting in the plane, on the half that reports.

    Attributes:
      setting: whose.
      kl, value: of it.
      leads: whether none of its objective has more at no more KL, on the half that
        chooses.
    """

    setting: Setting
    kl: Estimate
    value: Estimate
    leads: bool


def points_of(cell: Cell, chooses: str) -> list[Point]:
    """All settings that have both figures, each objective's by rising KL."""
    found = []
    for name in cell.compared:
        own = [
            (x.mean(_KL, cell.choosing), x.mean(chooses, cell.choosing), x)
            for x in cell.of(name)
        ]
        own = [x for x in own if not (math.isnan(x[0]) or math.isnan(x[1]))]
        highest = -math.inf
        for _, value, setting in sorted(own, key=lambda x: (x[0], -x[1])):
            kl = setting.estimate(_KL, cell.reporting)
            reported = setting.estimate(chooses, cell.reporting)
            found.append(Point(setting, kl, reported, value > highest))
            highest = max(highest, value)
    return found


def draw(cell: Cell, looks: Mapping[str, RunStyle], chooses: str, title: str):
    """The plane: a line an objective through those that lead it."""
    points = points_of(cell, chooses)
    with Canvas(*_SIZE) as drawn:
        axes = drawn.add_subplot()
        names, marks, joined = [], [], []
        for name in cell.compared:
            own = [x for x in points if x.setting.compared == name]
            look = looks[name]
            for x in own:
                _mark(axes, x, look)
            line = sorted((x.kl.value, x.value.value) for x in own if x.leads)
            if len(line) > 1:
                axes.plot(
                    *zip(*line, strict=True), color=look.colour, linewidth=1.4,
                    linestyle=look.line, zorder=2,
                )  # fmt: skip
            if line:
                names.append(short(name))
                marks.append(max(line, key=lambda x: x[1]))
                joined.append(line)
        for reference in cell.references:
            found = reference.estimate(chooses, cell.reporting)
            if found is not None:
                axes.axhline(found.value, color=SOFT, linestyle=":", linewidth=1.2)
        _scale(axes, [x.kl.value for x in points])
        axes.set(xlabel=f"{figure(_KL).title}, {figure(_KL).unit}", ylabel=title)
        axes.margins(y=0.1)
        if cell.name:
            axes.set_title(short(cell.name, 60), loc="left")
        plain(axes)
        label_marks(axes, names, marks, [x for x in joined if len(x) > 1])
    return drawn


def shown(drawn, file: str, cell: Cell, chooses: str) -> Html:
    """The picture on the page."""
    said = "; ".join(
        f"{x.setting.compared} {x.setting.name}: "
        f"{format(x.value.value, figure(chooses).format)} at {x.kl.value:.2f} nats"
        for x in points_of(cell, chooses)
        if x.leads
    )
    where = f", {cell.name}" if cell.name else ""
    title = f"{figure(chooses).title} against KL to the reference{where}"
    return element("div", inline(drawn, file, title, f"{said}."), class_="figures")


def as_table(cells: Sequence[Cell], chooses: str, conditions: Sequence[str]) -> Table:
    """Every setting as a row of a file."""
    columns = (*conditions, "compared", "setting", "seeds", "leads", "kl", "kl_low",
               "kl_high", chooses, f"{chooses}_low", f"{chooses}_high")  # fmt: skip
    rows = [
        (*condition_cells(cell, conditions), x.setting.compared, x.setting.name,
         x.setting.seeds, str(x.leads).lower(), *ends(x.kl), *ends(x.value))
        for cell in cells
        for x in points_of(cell, chooses)
    ]  # fmt: skip
    return Table(columns, rows)


def round_ticks(axis, multiples: Sequence[float]) -> None:
    """Names numbers of an axis of logarithms: these times each power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _scale(axes, kls: Sequence[float]) -> None:
    """Room for marks and names; intervals that go farther are cut."""
    low, high = min(kls), max(kls)
    if low > 0 and high / low > WIDE:
        axes.set_xscale("log")
        round_ticks(axes.xaxis, (1.0, 2.0, 5.0))
        room = (high / low) ** 0.12
        axes.set_xlim(low / room, high * room)
    else:
        room = 0.12 * ((high - low) or 1.0)
        axes.set_xlim(low - room, high + room)


def _mark(axes, x: Point, look: RunStyle) -> None:
    strong = 1.0 if x.leads else 0.35
    for low, high, is_kl in (
        (x.kl.low, x.kl.high, True),
        (x.value.low, x.value.high, False),
    ):
        if low is not None and high is not None:
            # No logarithm of 0 is drawn.
            least = max(low, 1e-6) if x.kl.value > 0 else low
            across = ([least, high], [x.value.value] * 2)
            along = ([x.kl.value] * 2, [low, high])
            axes.plot(
                *(across if is_kl else along), color=look.colour, linewidth=1.1,
                alpha=0.6 * strong, zorder=2,
            )  # fmt: skip
    size = 7 if x.leads else 4.5
    axes.plot(
        x.kl.value, x.value.value, look.mark, color=look.colour, ms=size, zorder=3,
        alpha=strong,
    )  # fmt: skip
