"""What each run cost: hours and tokens, by its own log."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.reporting.html import element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of a run, as its `metrics.jsonl` tells.

    Attributes:
      steps: that it took.
      hours: of these steps; compiling, evaluating, saving and what is computed before the
        first step are not in it.
      tokens, trajectories: that it trained on, padding left out; each pass counts.
      mfu: share of the devices' peak FLOP/s over all steps, where that is known.
    """

    steps: int
    hours: float
    tokens: float
    trajectories: float
    mfu: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """While it took steps."""
        return self.tokens / (3600 * self.hours) if self.hours else 0.0


def cost_of(run: ReportedRun) -> Cost | None:
    """A run's cost; None where its log has no rates."""
    last, seconds, tokens, trajectories, busy = None, 0.0, 0.0, 0.0, 0.0
    for line, taken in timed(run.metrics):
        last, seconds = line["step"], seconds + taken
        tokens += line.get("num_tokens") or 0.0
        trajectories += line.get("num_trajectories") or 0.0
        busy += (line.get("mfu") or 0.0) * taken
    if last is None:
        return None
    mfu = busy / seconds if busy else None
    return Cost(last, seconds / 3600, tokens, trajectories, mfu)


def timed(metrics: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping, float]]:
    """The lines of a log that have rates, each with the seconds of its steps."""
    before = 0
    for line in metrics:
        step, rate = line.get("step"), line.get("steps_per_second")
        if isinstance(step, int) and _is_positive(rate):
            yield line, (step - before) / rate
            before = step


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run has a log.

    Args:
      runs, looks: as for the summary.
    """
    costs = {run.label: cost for run in runs if (cost := cost_of(run)) is not None}
    if not costs:
        return None
    rows = [
        [
            look.name(),
            f"{cost.steps:,}",
            _hours(cost.hours),
            f"{cost.tokens:,.0f}",
            f"{cost.trajectories:,.0f}",
            f"{cost.tokens_per_second:,.0f}",
            "–" if cost.mfu is None else f"{cost.mfu:.1%}",
        ]
        for look in looks
        if (cost := costs.get(look.label)) is not None
    ]
    titles = (
        Column("run"),
        Column("steps"),
        Column("hours", "of steps"),
        Column("tokens", "trained on"),
        Column("trajectories"),
        Column("tokens a second"),
        Column("MFU"),
    )
    body = lines(
        element(
            "p",
            "Hours are those in which steps were taken, by the rates in each run's log: "
            "compiling, evaluating, saving, and what is computed before the first step "
            "(the reference's log-probabilities, its value) come on top. Tokens are "
            "those trained on, padding left out, each pass counted.",
        ),
        table("Cost of training", titles, rows, class_="numbers"),
    )
    fields = [field.name for field in dataclasses.fields(Cost)]
    values = [(x, *dataclasses.astuple(cost)) for x, cost in costs.items()]
    data = {label: dataclasses.asdict(cost) for label, cost in costs.items()}
    return Section(
        "cost", "Cost", body, {"cost": Table(("run", *fields), values)}, {}, data
    )


def _hours(hours: float) -> str:
    if hours >= 0.1:
        return f"{hours:,.2f}"
    return f"{hours:.4f}"


def _is_positive(rate: Any) -> bool:
    return isinstance(rate, int | float) and rate > 0
