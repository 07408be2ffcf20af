"""Several evaluated runs as text: their figures, who wins, and what they say."""

import itertools
from collections.abc import Sequence

from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, WinRate
from dro_jax.evaluation.figures import figure, in_table_order, shown
from dro_jax.evaluation.reward_difference import RewardDifference
from dro_jax.evaluation.strengths import bradley_terry

_EMPTY = "(empty)"


def table(runs: Sequence[EvaluatedRun]) -> str:
    """A row a figure, a column a run; 95% intervals where there are any.

    An arrow says which way is better. What was left out, and why, stands below.
    """
    rows = [["", *(run.label for run in runs)]]
    names = in_table_order(dict.fromkeys(name for run in runs for name in run.figures))
    for name in names:
        cells = (
            shown(name, run.figures[name]) if name in run.figures else ""
            for run in runs
        )
        rows.append([_heading(name), *cells])
    return "\n".join([_aligned(rows), *_omitted(runs)])


def win_rates(found: Sequence[WinRate], labels: Sequence[str]) -> str:
    """A matrix a judge: how often the row's responses are better than the column's.

    Where three runs or more were all compared, with their Bradley-Terry strengths.

    Args:
      found: those of one judge side by side, each pair once.
      labels: of the runs, in the order of rows and columns.
    """
    texts = []
    for judge, of_judge in itertools.groupby(found, key=lambda own: own.judge):
        own = list(of_judge)
        pairs = {(one.first, one.second): one for one in own}
        rows = [[f"win rate, by {judge}", *(f"against {name}" for name in labels)]]
        for first in labels:
            cells = [_of_pair(pairs, first, second) for second in labels]
            rows.append([first, *cells])
        if 3 <= len(labels) and len(own) == len(labels) * (len(labels) - 1) // 2:
            strengths = bradley_terry(labels, own)
            rows[0].append("strength")
            for row in rows[1:]:
                row.append(f"{strengths[row[0]]:+.2f}")
        unanswered = sum(one.unanswered for one in own)
        left_out = f"\n{unanswered:,} pairs without an answer" if unanswered else ""
        texts.append(_aligned(rows) + left_out)
    return "\n\n".join(texts)


def reward_differences(found: Sequence[RewardDifference]) -> str:
    """A row a pair of runs: by how much the first is rewarded more, and if by chance."""
    rows = [["difference in reward", "", "p"]]
    for one in found:
        text = shown(f"reward/{one.reward}", one.difference)
        chance = "" if one.p_value is None else f"{one.p_value:.4f}"
        rows.append([f"{one.first} less {one.second}", text, chance])
    return _aligned(rows)


def examples(runs: Sequence[EvaluatedRun], count: int = 3) -> str:
    """The same prompts answered by several runs, with the reward that counts."""
    answers = [{(one.prompt_id, one.sample): one for one in x.responses} for x in runs]
    width = max(len("prompt"), *(len(run.label) for run in runs))
    lines = []
    for key, asked in itertools.islice(answers[0].items(), count):
        lines.append(f"{'prompt':<{width}}  {_one_line(asked.prompt)}")
        for run, own in zip(runs, answers, strict=True):
            if (one := own.get(key)) is None:
                continue
            text = _one_line(one.response) or _EMPTY
            reward = next(iter(one.rewards.values()), None)
            score = "" if reward is None else f"   [{reward:.2f}]"
            lines.append(f"{run.label:<{width}}  {text}{score}")
        lines.append("")
    return "\n".join(lines)


def _heading(name: str) -> str:
    row = figure(name)
    better = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
    return row.title + (f", {row.unit}" if row.unit else "") + better


def _omitted(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Why a figure is not there, once for all runs that it is so for."""
    reasons = {}
    for run in runs:
        for name, reason in run.tables.get("omitted", {}).items():
            reasons.setdefault((name, reason), []).append(run.label)
    return [
        f"no {figure(name).title} for {', '.join(labels)}: {reason}"
        for (name, reason), labels in reasons.items()
    ]


def _of_pair(pairs: dict, first: str, second: str) -> str:
    if (one := pairs.get((first, second))) is not None:
        return _percent(one.win_rate)
    if (one := pairs.get((second, first))) is not None:
        # The same pairs, looked at from the other side.
        own = one.win_rate
        turned = None if own.low is None else 1 - own.low
        return _percent(
            Estimate(1 - own.value, None if own.high is None else 1 - own.high, turned)
        )
    return ""


def _percent(own: Estimate) -> str:
    text = f"{own.value:.1%}"
    if own.low is None or own.high is None:
        return text
    return f"{text} ({own.low:.1%} to {own.high:.1%})"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
