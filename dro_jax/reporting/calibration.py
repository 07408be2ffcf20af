"""How well the value estimates V(x) foretell rewards."""

from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.evaluation.figures import figure
from dro_jax.reporting.drawing import SOFT, Canvas, inline, plain
from dro_jax.reporting.html import element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.summary import all_figures
from dro_jax.reporting.tables import Column, table, value_text

_TABLE = "value_calibration"
_SIZE = (400, 310)
_TEXT = (
    "Responses are put into bins by V of their prompt. A mark compares a bin's mean V "
    "with the mean reward of its responses, and is the larger the more there are; on the "
    "dashed line V would be right on average."
)

Bins = Sequence[Mapping[str, Any]]


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run has a value estimate.

    Args:
      runs, looks: as for the summary.
    """
    bins = {
        run.label: found for run in runs if (found := run.evaluated.tables.get(_TABLE))
    }
    parts, figures, tables, data = [], {}, {}, {}
    if bins:
        drawn = draw(bins, looks)
        figures[_TABLE] = drawn
        said = "; ".join(f"{label}: {_said(found)}" for label, found in bins.items())
        title = "Mean reward against mean V, by bin"
        shown = inline(drawn, "value calibration", title, f"{said}.")
        parts += [element("p", _TEXT), element("div", shown, class_="figures")]
        keys = ("low", "high", "count", "mean_value", "mean_reward")
        rows = [
            (x, *(one[k] for k in keys)) for x, found in bins.items() for one in found
        ]
        tables[_TABLE] = Table(("run", *keys), rows)
        data = bins
    parts += _figures(runs, looks)
    parts += _of_the_reference(runs, looks)
    if not parts:
        return None
    return Section("value", "Value calibration", lines(*parts), tables, figures, data)


def draw(bins: Mapping[str, Bins], looks: Sequence[RunStyle]):
    """All runs in one square, and the diagonal."""
    with Canvas(*_SIZE) as drawn:
        axes = drawn.add_subplot()
        filled = {
            label: [one for one in found if one["count"]]
            for label, found in bins.items()
        }
        numbers = [
            one[key]
            for found in filled.values()
            for one in found
            for key in ("mean_value", "mean_reward")
        ]
        if numbers:
            ends = [min(numbers), max(numbers)]
            axes.plot(ends, ends, color=SOFT, linewidth=1, linestyle="--", zorder=1)
        most = max((one["count"] for x in filled.values() for one in x), default=1)
        for look in looks:
            found = filled.get(look.label, [])
            xs = [one["mean_value"] for one in found]
            ys = [one["mean_reward"] for one in found]
            style = {"linestyle": look.line, "linewidth": 1.2, "marker": look.mark}
            label = short(look.label) if found else None
            axes.plot(xs, ys, color=look.colour, markersize=3, label=label, **style)
            sizes = [12 + 70 * one["count"] / most for one in found]
            axes.scatter(xs, ys, sizes, color=look.colour, marker=look.mark, zorder=3)
        if filled:
            axes.legend(frameon=False, loc="upper left")
        axes.margins(0.08)
        axes.set(xlabel="mean V of a bin", ylabel="mean reward of its responses")
        plain(axes)
    return drawn


def _figures(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> list:
    names = [name for name in all_figures(runs) if name.startswith("value/")]
    rows = []
    for run, look in zip(runs, looks, strict=True):
        found = [run.evaluated.figures.get(name) for name in names]
        if any(found):
            cells = [
                value_text(figure(name), x.value) if x else "–"
                for name, x in zip(names, found, strict=True)
            ]
            rows.append([look.name(), *cells])
    if not rows:
        return []
    columns = [Column("run"), *(Column(figure(name).title) for name in names)]
    return [table("V on the evaluated prompts", columns, rows, class_="numbers")]


def _of_the_reference(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> list:
    rows = []
    for run, look in zip(runs, looks, strict=True):
        best = run.facts.get("value of the reference", {}).get("best")
        if isinstance(best, Mapping):
            keys = ("train_mse", "held_out_mse", "explained_variance")
            rows.append([look.name(), *(_number(best.get(key)) for key in keys)])
    if not rows:
        return []
    titles = ("run", "error² in training", "error² held out", "explained variance")
    caption = "V of the reference, fitted before training"
    columns = [Column(x) for x in titles]
    return [table(caption, columns, rows, class_="numbers")]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def _said(bins: Bins) -> str:
    pairs = [
        f"V {one['mean_value']:.3g}, reward {one['mean_reward']:.3g}"
        for one in bins
        if one["count"]
    ]
    return ", ".join(pairs)
