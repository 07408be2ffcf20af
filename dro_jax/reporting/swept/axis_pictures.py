"""What stands on an axis as pictures: reward above and KL below, over its values."""

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from dro_jax.evaluation.figures import figure
from dro_jax.reporting.drawing import Canvas, inline, plain
from dro_jax.reporting.html import Html
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept.axes import Curve, is_logarithmic, is_numeric
from dro_jax.reporting.swept.figures import in_text
from dro_jax.reporting.swept.kl_picture import WIDE, round_ticks
from dro_jax.reporting.swept.settings import shown_value

_PANEL = (250, 250)
_MOST_COLUMNS = 4
_ROOM = 0.06  # of the whole range, above and below
_BEYOND = 0.35  # of the range of values, for the ends of intervals


@dataclasses.dataclass(frozen=True)
class Panel:
    """Several curves over one axis.

    Attributes:
      title: above it.
      curves: what is drawn.
      looks: of each.
      labels: what each is called in a legend.
    """

    title: str
    curves: Sequence[Curve]
    looks: Sequence[RunStyle]
    labels: Sequence[str]


def draw(panels: Sequence[Panel], chooses: str, title: str):
    """Several panels side by side, on one scale.

    Args:
      panels: of one axis.
      chooses: the figure.
      title: of it.
    """
    columns = min(_MOST_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    limits = limits_of(panels)
    with Canvas(_PANEL[0] * columns, _PANEL[1] * rows) as drawn:
        ratios = [2, 1] * rows
        grid = drawn.add_gridspec(2 * rows, columns, height_ratios=ratios)
        told: set[str] = set()
        for number, one in enumerate(panels):
            row, column = divmod(number, columns)
            upper = drawn.add_subplot(grid[2 * row, column])
            lower = drawn.add_subplot(grid[2 * row + 1, column], sharex=upper)
            # A legend names each once.
            labels = ["" if x in told else x for x in one.labels]
            told |= set(labels)
            _draw(upper, lower, dataclasses.replace(one, labels=labels), limits)
            upper.set_ylabel(title if column == 0 else "")
            lower.set_ylabel("KL" if column == 0 else "")
    return drawn


class Limits(NamedTuple):
    """The scales of all panels of an axis.

    Attributes:
      low, high: of the figure.
      least_kl, most_kl: nats; 0 where the scale is none of logarithms.
    """

    low: float
    high: float
    least_kl: float
    most_kl: float


def limits_of(panels: Sequence[Panel]) -> Limits:
    """What holds all values of several panels, and of wide intervals a good part."""
    points = [x for one in panels for curve in one.curves for x in curve.points]
    values = [number for x in points for number in (x.figure.value, *x.by_seed)]
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0
    ends = [e for x in points for e in (x.figure.low, x.figure.high) if e is not None]
    low = min([low, *(max(e, low - _BEYOND * span) for e in ends)])
    high = max([high, *(min(e, high + _BEYOND * span) for e in ends)])
    room = _ROOM * (high - low or 1.0)
    kls = [x.kl.value for x in points if x.kl] or [0.0]
    least, most = min(kls), max(kls)
    if least > 0 and most / least > WIDE:
        return Limits(low - room, high + room, least / 1.6, most * 1.6)
    return Limits(low - room, high + room, 0.0, 1.15 * max(most, 1e-3))


def inline_panel(one: Panel, name: str, chooses: str, limits: Limits) -> Html:
    """A panel on the page.

    Args:
      one: the panel.
      name: of the picture, alone on the page.
      chooses: the figure.
      limits: its scales.
    """
    with Canvas(*_PANEL) as drawn:
        upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        _draw(upper, lower, one, limits)
        upper.set_ylabel(short(figure(chooses).title, 16))
        lower.set_ylabel("KL")
    of = f" of {one.title}" if one.title else ""
    title = f"{figure(chooses).title}{of} by {one.curves[0].axis}"
    said = ". ".join(
        _said(curve, label, chooses)
        for curve, label in zip(one.curves, one.labels, strict=True)
    )
    return inline(drawn, name, title, f"{said}.", class_="plot small")


def _draw(upper, lower, one: Panel, limits: Limits) -> None:
    values = [x.value for curve in one.curves for x in curve.points]
    places = _places(values)
    for curve, look, label in zip(one.curves, one.looks, one.labels, strict=True):
        line = "none" if curve.is_searched else look.line
        at = [places(x.value) for x in curve.points]
        drawn = {"color": look.colour, "linestyle": line, "linewidth": 1.4}
        mark = {"marker": look.mark, "markersize": 4.5}
        for place, x in zip(at, curve.points, strict=True):
            if x.figure.low is not None and x.figure.high is not None:
                ends = [x.figure.low, x.figure.high]
                upper.plot([place] * 2, ends, color=look.colour, lw=1.1, alpha=0.6)
            if len(x.by_seed) > 1:
                dots = [place] * len(x.by_seed)
                upper.plot(dots, x.by_seed, ".", color=look.colour, ms=3, alpha=0.5)
        rewards = [x.figure.value for x in curve.points]
        upper.plot(at, rewards, label=short(label, 44) or None, **drawn, **mark)
        kls = [x.kl.value if x.kl else math.nan for x in curve.points]
        lower.plot(at, kls, **drawn, **mark)
    upper.set_title(short(one.title, 28), loc="left")
    upper.set_ylim(limits.low, limits.high)
    upper.tick_params(labelbottom=False)
    if limits.least_kl:
        lower.set_yscale("log")
        round_ticks(lower.yaxis, (1.0,))
    lower.set_ylim(limits.least_kl, limits.most_kl)
    lower.set_xlabel(one.curves[0].axis)
    _ticks(lower, values, places)
    for axes in (upper, lower):
        axes.margins(x=0.08)
        plain(axes, "y")
    upper.locator_params(axis="y", nbins=4)
    if not limits.least_kl:
        lower.locator_params(axis="y", nbins=4)


def _places(values: Sequence):
    """Where a value stands: a number by itself or its logarithm, others in a row."""
    if not is_numeric(values):
        order = list(dict.fromkeys(map(shown_value, values)))
        return lambda value: order.index(shown_value(value))
    if is_logarithmic(values):
        return lambda value: math.log10(value)
    return float


def _ticks(axes, values: Sequence, places) -> None:
    """Numbers where they have room; words all, in lines below one another."""
    from matplotlib.ticker import NullLocator

    named = {places(x): shown_value(x) for x in values}
    at = sorted(named)
    axes.xaxis.set_minor_locator(NullLocator())
    if not is_numeric(values):
        letters = max(6, 36 // len(at))
        axes.set_xticks(at, [_wrapped(named[x], letters) for x in at], fontsize=7.5)
        return
    width = (at[-1] - at[0]) or 1
    kept = at[:1]
    for place in at[1:]:
        # A digit is about a thirtieth of a panel wide.
        if (place - kept[-1]) / width >= 0.03 * (2 + len(named[kept[-1]])):
            kept.append(place)
    axes.set_xticks(kept, [short(named[x], 9) for x in kept])


def _wrapped(words: str, letters: int) -> str:
    lines = textwrap.wrap(words, letters, max_lines=4, placeholder="…")
    return "\n".join(lines)


def _said(curve: Curve, label: str, chooses: str) -> str:
    found = ", ".join(
        f"{shown_value(x.value)} {in_text(chooses, x.figure)}" for x in curve.points
    )
    return f"{label}: {found}" if label else found
