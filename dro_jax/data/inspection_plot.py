"""The histogram of a task's rewards, as a PNG."""

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from dro_jax.data.reward_statistics import Histogram
from dro_jax.data.task_report import TaskReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE = "#3b6ea5"
_ORANGE = "#c8642b"
_GREY = "#6b6b6b"
# Above the highest bar there is room for the legend.
_HEADROOM = 1.15


def write_histogram(report: TaskReport, file: str | BinaryIO) -> None:
    """Draws the transformed rewards of a report, mean and median marked.

    Args:
      report: of the task.
      file: the PNG, or its path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    summary = report.rewards.transformed
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_bars(axes, report.histogram)
    axes.axvline(
        summary.mean,
        color=_ORANGE,
        linewidth=1.8,
        label=f"mean {_rounded(summary.mean)}, std {_rounded(summary.std)}",
    )
    if report.histogram.values is None:
        median = dict(summary.quantiles)[0.5]
        axes.axvline(
            median,
            color=_GREY,
            linewidth=1.4,
            linestyle="--",
            label=f"median {_rounded(median)}",
        )
    axes.set_title(
        f"Rewards of {report.name} [{report.split}], {summary.count:,} trajectories",
        loc="left",
        fontsize=12,
    )
    axes.set_xlabel(f"reward as trained on (transform: {report.rewards.transform})")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(top=_HEADROOM * max(report.histogram.counts))
    axes.legend(frameon=False, loc="upper right", ncols=2)
    figure.savefig(file, format="png")


def _draw_bars(axes: "Axes", histogram: Histogram) -> None:
    style = {"color": _BLUE, "edgecolor": "white", "linewidth": 0.5}
    if histogram.values is None:
        edges = np.array(histogram.edges)
        axes.bar(edges[:-1], histogram.counts, np.diff(edges), align="edge", **style)
        axes.set_ylabel(f"trajectories per bin of {edges[1] - edges[0]:.2g}")
        return
    values = np.array(histogram.values)
    width = 0.6 * np.diff(values).min() if len(values) > 1 else 0.5
    axes.bar(values, histogram.counts, width, **style)
    axes.set_xticks(values, [f"{value:.3g}" for value in values])
    axes.set_ylabel("trajectories")


def _rounded(value: float) -> str:
    # Adding zero turns a negative zero, which rounding leaves, into zero.
    return f"{round(value, 3) + 0.0:g}"
