"""A comparison of policies as a table, as JSON and as a picture."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from dro_jax.evaluation.policy_evaluation import Evaluation

# One style an evaluation, in order: before, after, what was logged, the bound.
_COLOURS = ("#7f8fa6", "#2f6db5", "#b8c0c8", "#d9d9d9")
_LINES = ("-", "-", "--", ":")


def table(evaluations: Sequence[Evaluation]) -> str:
    """One row an evaluation: true reward with its 95% interval, KL, distinct-2, length."""
    rows = [("", "true reward", "95% interval", "KL to reference", "distinct-2", "words")]
    for evaluation in evaluations:
        figures = evaluation.to_json()
        low, high = figures["reward_interval"]
        kl = "" if evaluation.kl is None else f"{evaluation.kl:.2f} nats"
        rows.append(
            (
                evaluation.name,
                f"{figures['reward']:.3f}",
                f"{low:.3f} to {high:.3f}",
                kl,
                f"{figures['distinct_2']:.3f}",
                f"{figures['length']:.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def samples(
    prompts: Sequence[str], before: Evaluation, after: Evaluation, count: int = 3
) -> str:
    """The same prompts answered by two policies, with the true rewards."""
    lines = []
    for index in range(min(count, len(prompts))):
        lines.append(f"prompt     {prompts[index]}")
        for evaluation in (before, after):
            reward = evaluation.rewards[index]
            text = evaluation.responses[index] or "(empty)"
            lines.append(f"{evaluation.name:<10} {text}   [{reward:.2f}]")
        lines.append("")
    return "\n".join(lines)


def draw(
    evaluations: Sequence[Evaluation], file: str | BinaryIO, *, title: str
) -> None:
    """Mean true rewards as bars, and the spread of rewards behind them, as a PNG.

    Args:
      evaluations: four: before, after, logged, best possible.
      file: the PNG, or its path.
      title: its title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    means, spread = figure.subplots(1, 2, width_ratios=(1, 1.2))
    names = [evaluation.name for evaluation in evaluations]
    rewards = [evaluation.reward for evaluation in evaluations]
    bars = means.barh(names, rewards, color=_COLOURS)
    means.bar_label(bars, fmt="%.2f", padding=3)
    means.invert_yaxis()
    means.set(xlim=(0, 1.12), xlabel="mean true reward on unseen prompts")
    for evaluation, colour, line in zip(evaluations, _COLOURS, _LINES, strict=True):
        if np.ptp(evaluation.rewards) == 0:
            continue  # a bound, the same for every prompt: a bar says it all
        ordered = np.sort(evaluation.rewards)
        shares = np.arange(1, ordered.size + 1) / ordered.size
        spread.step(
            ordered, shares, where="post", label=evaluation.name, color=colour,
            linestyle=line, linewidth=2,
        )  # fmt: skip
    spread.set(xlabel="true reward of a response", ylabel="share of responses at or below",
               xlim=(0, 1.02), ylim=(0, 1.02))
    spread.legend(frameon=False, loc="upper left")
    for axes in (means, spread):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.savefig(file, format="png", dpi=150)
