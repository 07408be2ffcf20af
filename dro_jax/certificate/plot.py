"""The certificate as a picture: distance to the optimum, and reward against KL."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from dro_jax.certificate.methods import METHODS
from dro_jax.certificate.problem import CONDITIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dro_jax.certificate.certify import FormReport

_MARKS = ("o", "s", "^")  # a condition each
_INKS = ("#2f6db5", "#c8642b", "#7f8fa6")
_WIDEST = 3.2  # nats, to the right end
_FLOOR = 1e-6  # nats; what lies below is drawn here
_FAMILIES = {
    "optimum": "#2f6db5",
    "log-ratio": "#6fa8dc",
    "cloning": "#7f8fa6",
    "leftover": "#c8642b",
    "labels": "#4f9d69",
    "lists": "#8e5ea2",
    "online": "#b8902f",
}
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def draw(reports: Sequence["FormReport"], file: str | BinaryIO) -> None:
    """One row a form: KL(π‖π*) of all methods, then two frontiers, as a PNG.

    Args:
      reports: of the forms.
      file: the PNG, or its path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 6.4 * len(reports)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(reports), 3, squeeze=False, width_ratios=(1, 1.3, 1.3))
    for report, (distances, *frontiers) in zip(reports, rows, strict=True):
        form = {"table": "table", "t5": "T5"}[report.form]
        _draw_distances(distances, report)
        distances.set_title(f"{form}: distance to the closed-form optimum", loc="left")
        for axes, condition in zip(frontiers, CONDITIONS, strict=False):
            _draw_frontier(axes, report, condition)
            axes.set_title(f"{form}: {condition} logging", loc="left")
        frontiers[-1].legend(
            frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9
        )
    figure.savefig(file, format="png", dpi=130)


def _draw_distances(axes: "Axes", report: "FormReport") -> None:
    names = list(report.results)
    for condition, mark, ink in zip(CONDITIONS, _MARKS, _INKS, strict=True):
        distances = [
            max(report.results[name][condition].kl_to_optimum, _FLOOR) for name in names
        ]
        axes.plot(
            distances, range(len(names)), mark, label=condition, color=ink, alpha=0.85
        )
    axes.axvline(1e-3, color="black", linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        xlabel=f"KL(π‖π*), nats ({_FLOOR:g} and below at the left edge)",
        yticks=range(len(names)),
        yticklabels=names,
    )
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.25)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    _plain(axes)


def _draw_frontier(axes: "Axes", report: "FormReport", condition: str) -> None:
    axes.plot(
        *zip(*report.frontier, strict=True), color="black", linewidth=2.2, zorder=1,
        label="optimal frontier",
    )  # fmt: skip
    shared = []
    for name, curve in report.curves[condition].items():
        ink, line = _style(name)
        kls, rewards = zip(*curve, strict=True)
        axes.plot(kls, rewards, linestyle=line, color=ink, linewidth=1.3, label=name)
        at = report.results[name][condition]
        if at.is_optimum:
            axes.plot(kls, rewards, ".", color=ink, markersize=6)
            shared.append(name)
        elif at.kl_to_reference < _WIDEST:
            axes.plot(at.kl_to_reference, at.reward, "o", color=ink, markersize=4)
            axes.annotate(
                name, (at.kl_to_reference, at.reward), xytext=(4, -8),
                textcoords="offset points", fontsize=7, color=ink,
            )  # fmt: skip
    optimum = report.known["π*"]
    axes.plot(
        optimum.kl_to_reference, optimum.reward, "*", color="black", markersize=15,
        zorder=3, label="π*",
    )  # fmt: skip
    axes.annotate(
        textwrap.fill(", ".join(["π*", *shared]), 14),
        (optimum.kl_to_reference, optimum.reward), xytext=(-10, 8),
        textcoords="offset points", fontsize=8, ha="right",
    )  # fmt: skip
    logged = report.logged[condition]
    axes.plot(
        logged.kl_to_reference, logged.reward, "X", color="black", markersize=9,
        zorder=3, label="logging policy μ",
    )  # fmt: skip
    axes.set(
        xlabel="KL(π‖π_ref), nats", ylabel="expected reward", xlim=(-0.05, _WIDEST)
    )
    axes.grid(alpha=0.25)
    _plain(axes)


def _style(name: str):
    """A colour a family, and a line for each of its members."""
    family = METHODS[name].family
    members = [other.name for other in METHODS.values() if other.family == family]
    return _FAMILIES[family], _LINES[members.index(name) % len(_LINES)]


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
