"""How the rewards of several evaluated runs are spread, as a picture."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from dro_jax.evaluation.evaluated_run import EvaluatedRun

# One style a run, in order: before, after, what was logged, the bound.
_COLOURS = ("#7f8fa6", "#2f6db5", "#b8c0c8", "#d9d9d9")
_LINES = ("-", "-", "--", ":")


def draw(
    runs: Sequence[EvaluatedRun], reward: str, file: str | BinaryIO, *, title: str
) -> None:
    """Mean rewards as bars, and the spread of rewards behind them, as a PNG.

    Args:
      runs: four: before, after, logged, best possible.
      reward: the name of one that all have, in [0, 1].
      file: the PNG, or its path.
      title: its title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    means, spread = figure.subplots(1, 2, width_ratios=(1, 1.2))
    rewards = [np.array([one.rewards[reward] for one in run.responses]) for run in runs]
    names = [run.label for run in runs]
    bars = means.barh(names, [own.mean() for own in rewards], color=_COLOURS)
    means.bar_label(bars, fmt="%.2f", padding=3)
    means.invert_yaxis()
    means.set(xlim=(0, 1.12), xlabel="mean true reward on unseen prompts")
    for name, own, colour, line in zip(names, rewards, _COLOURS, _LINES, strict=True):
        if np.ptp(own) == 0:
            continue  # a bound, the same for every prompt: a bar says it all
        ordered = np.sort(own)
        shares = np.arange(1, ordered.size + 1) / ordered.size
        spread.step(
            ordered, shares, where="post", label=name, color=colour, linestyle=line,
            linewidth=2,
        )  # fmt: skip
    spread.set(
        xlabel="true reward of a response",
        ylabel="share of responses at or below",
        xlim=(0, 1.02),
        ylim=(0, 1.02),
    )
    spread.legend(frameon=False, loc="upper left")
    for axes in (means, spread):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.savefig(file, format="png", dpi=150)
