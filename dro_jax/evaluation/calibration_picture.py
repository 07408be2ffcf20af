"""A reward's calibration as a picture."""

from typing import BinaryIO

import numpy as np

from dro_jax.evaluation.score_calibration import Calibration

_BLUE, _GREY, _ORANGE = "#2f6db5", "#7f8fa6", "#c8642b"


def draw(found: Calibration, file: str | BinaryIO, *, title: str) -> None:
    """Mean reward by score, and how often the higher score is right, as a PNG.

    Args:
      found: what to draw.
      file: the PNG, or its path.
      title: its title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    scores, preferences = figure.subplots(1, 2)
    _draw_scores(scores, found)
    _draw_preferences(preferences, found)
    for axes in (scores, preferences):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left", fontsize=8)
    figure.suptitle(title)
    figure.savefig(file, format="png", dpi=150)


def _draw_scores(axes, found: Calibration) -> None:
    x = np.array([one.mean_score for one in found.scores])
    y = np.array([one.mean_reward for one in found.scores])
    errors = 1.96 * np.nan_to_num([one.standard_error for one in found.scores])
    axes.errorbar(
        x, y, errors, fmt="o-", color=_BLUE, label="a tenth of the responses, 95%"
    )
    ends = [x.min(), x.max()]
    axes.plot(ends, ends, "--", color=_GREY, label="score = reward")
    axes.set(xlabel="mean score", ylabel="mean reward")
    axes.set_title(
        f"Pearson {found.agreement.pearson:.2f}, Spearman "
        f"{found.agreement.spearman:.2f}, {found.agreement.count:,} responses",
        fontsize=9,
    )


def _draw_preferences(axes, found: Calibration) -> None:
    x = [one.mean_probability for one in found.preferences]
    y = np.array([one.share_right for one in found.preferences])
    counts = np.array([one.count for one in found.preferences])
    low, high = _wilson(y, counts)
    axes.errorbar(
        x,
        y,
        # Rounding may put an end on the wrong side by a last bit.
        np.maximum([y - low, high - y], 0),
        fmt="o",
        color=_ORANGE,
        label="pairs of like odds, 95%",
    )
    axes.plot([0.5, 1], [0.5, 1], "--", color=_GREY, label="as often as it says")
    axes.set(
        xlim=(0.48, 1.02),
        ylim=(0, 1.05),
        xlabel="predicted: σ(difference of the scores)",
        ylabel="share of pairs that are ordered so",
    )
    accuracy, pairs = found.agreement.pair_accuracy, found.agreement.num_pairs
    said = f"pair accuracy {accuracy:.2f}, {pairs:,} pairs" if pairs else "no pairs"
    axes.set_title(said, fontsize=9)


def _wilson(shares: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95% interval of shares, which ends within [0, 1] for a few pairs too."""
    z = 1.96
    spread = z * np.sqrt(shares * (1 - shares) / counts + (z / (2 * counts)) ** 2)
    centre, scale = shares + z**2 / (2 * counts), 1 + z**2 / counts
    return (centre - spread) / scale, (centre + spread) / scale
