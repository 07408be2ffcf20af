"""By how much each run is rewarded more than the reference, prompt by prompt."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.evaluation.figures import figure
from dro_jax.evaluation.reward_difference import (
    RewardDifference,
    holm,
    reward_difference,
)
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table, value_text

_TEXT = (
    "Mean reward of a run less that of {}, over prompts that both answered, with 95% "
    "intervals and p by the paired bootstrap: how often chance alone gives so large a "
    "difference. The more rows, the more small p there are by chance: the last column "
    "(Holm) holds for all rows of this table at once."
)


def found(runs: Sequence[ReportedRun]) -> list[RewardDifference]:
    """Every reward of every run, less that of what all are compared with.

    That is the evaluation's reference, or the first run where it is no row.

    Args:
      runs: all of a report.
    """
    base = _compared_with(runs)
    return [
        reward_difference(run.evaluated, base.evaluated, name)
        for name in _rewards(base)
        for run in runs
        if run is not base and name in _rewards(run)
    ]


def shown(differences: Sequence[RewardDifference], looks: Sequence[RunStyle]) -> Html:
    """A table that is closed at first.

    Args:
      differences: one or more.
      looks: of the runs.
    """
    names = {look.label: look.name() for look in looks}
    base = differences[0].second
    adjusted = holm([x.p_value for x in differences])
    rows = [
        [
            names[x.first],
            _name(x.reward),
            _cell(x),
            f"{x.prompts:,}",
            _p(x.p_value),
            _p(p),
        ]
        for x, p in zip(differences, adjusted, strict=True)
    ]
    columns = [
        Column("run"),
        Column("reward", is_text=True),
        Column("difference"),
        Column("prompts"),
        Column("p", "of this row alone"),
        Column("p", "for all rows (Holm)"),
    ]
    caption = f"Differences in reward from {base}"
    inside = table(caption, columns, rows, class_="numbers")
    title = f"Differences in reward from {base}, prompt by prompt"
    note = element("p", _TEXT.format(base), class_="note")
    return element("details", element("summary", title), lines(note, inside))


def as_data(differences: Sequence[RewardDifference]) -> list[dict[str, Any]]:
    """As values of JSON, each with the p that holds for all."""
    adjusted = holm([x.p_value for x in differences])
    return [
        dataclasses.asdict(x) | {"p_holm": p}
        for x, p in zip(differences, adjusted, strict=True)
    ]


def as_table(differences: Sequence[RewardDifference]) -> Table:
    """As rows of a file."""
    ends = ("low", "high", "standard_error")
    rows = [
        (x["first"], x["second"], x["reward"], x["difference"]["value"],
         *(x["difference"][end] for end in ends), x["p_value"], x["p_holm"],
         x["prompts"])
        for x in as_data(differences)
    ]  # fmt: skip
    columns = ("first", "second", "reward", "difference", *ends, "p", "p_holm")
    return Table((*columns, "prompts"), rows)


def _compared_with(runs: Sequence[ReportedRun]) -> ReportedRun:
    given = [run.evaluated.settings.get("reference") for run in runs]
    references = [one.get("label") for one in given if isinstance(one, Mapping)]
    return next((run for run in runs if run.label in references), runs[0])


def _rewards(run: ReportedRun) -> list[str]:
    """The rewards that all of a run's responses have."""
    first, *others = run.evaluated.responses or [None]
    if first is None:
        return []
    return [x for x in first.rewards if all(x in one.rewards for one in others)]


def _cell(found: RewardDifference) -> Html:
    row, own = figure(f"reward/{found.reward}"), found.difference
    interval = None
    if own.low is not None and own.high is not None:
        ends = (value_text(row, x, "+") for x in (own.low, own.high))
        interval = element("span", "[", " to ".join(ends), "]", class_="interval")
    return element("td", value_text(row, own.value, "+"), interval)


def _name(reward: str) -> Html:
    """Narrow, so that a phone shows the difference beside it."""
    return element("td", reward, class_="text short")


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
