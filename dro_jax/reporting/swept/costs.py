"""What a sweep cost, by what is compared and in all."""

from collections.abc import Sequence

from dro_jax.reporting.html import element, lines
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.sweep_results import SweepResults, SweptTrial
from dro_jax.reporting.swept.reading import compared_value
from dro_jax.reporting.tables import Column, table

_TEXT = (
    "Seconds are those that processes spent in trials, all tries together: compiling, "
    "training, evaluating and what is computed before the first step. Steps and tokens "
    "are those of training; tries are more than trials where one was interrupted and gone "
    "on with."
)
_ALL = "all"


def section(results: SweepResults) -> Section:
    """The part of the page.

    Args:
      results: the sweep's trials.
    """
    groups: dict[str, list[SweptTrial]] = {}
    last = results.stages[-1]
    for stage in results.stages[:-1]:
        groups[f"stage {stage}"] = [x for x in results.trials if x.stage == stage]
    for trial in results.trials:
        if trial.stage == last:
            groups.setdefault(compared_value(results, trial), []).append(trial)
    groups[_ALL] = list(results.trials)
    rows = [(name, *_sums(own)) for name, own in groups.items()]
    shown = [
        [name, f"{done} of {count}" if done < count else f"{count}", _time(seconds),
         _time(seconds / count) if count else "–", _count(steps), _count(tokens), tries]
        for name, count, done, seconds, steps, tokens, tries in rows
    ]  # fmt: skip
    columns = [Column(""), Column("trials", "complete"), Column("time"),
               Column("time", "a trial"), Column("steps"),
               Column("tokens", "trained on"), Column("tries")]  # fmt: skip
    body = lines(
        element("p", _TEXT),
        table("Cost of the sweep", columns, shown, class_="numbers"),
    )
    names = ("of", "trials", "complete", "seconds", "steps", "tokens", "tries")
    data = {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows}
    return Section("cost", "Cost", body, {"cost": Table(names, rows)}, {}, data)


def _sums(trials: Sequence[SweptTrial]) -> tuple:
    steps = [trial.steps for trial in trials if trial.steps is not None]
    tokens = [trial.tokens for trial in trials if trial.tokens is not None]
    return (
        len(trials),
        sum(trial.state == "complete" for trial in trials),
        round(sum(trial.seconds for trial in trials), 3),
        sum(steps) if steps else None,
        sum(tokens) if tokens else None,
        sum(trial.tries for trial in trials),
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.2f} h"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
