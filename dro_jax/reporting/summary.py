"""The runs' figures side by side, with the best marked where intervals allow."""

import dataclasses
from collections.abc import Sequence

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure, in_table_order
from dro_jax.plurals import counted
from dro_jax.reporting import differences
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.marks import BEST, LEVEL, sign
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import SPREAD
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table, value_text

_REWARD = "reward"
_NOTE = (
    "In brackets 95% intervals. ★ is the best run of a column, and stands only where its "
    "interval lies apart from those of all other runs; else ≈ marks all whose intervals "
    "meet that of the best. Intervals that meet say less than a paired comparison: see "
    "the {paired}win rates. What no policy of a run gave is never marked."
)


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section:
    """The part of the page.

    Args:
      runs: in the order of rows.
      looks: of each.
    """
    names = all_figures(runs)
    first = first_reward(runs)
    chosen = [name for name in names if _is_headline(name, names, first)]
    rows = [
        [look.name(), *(_cell(run, name, marks(runs, name)) for name in chosen)]
        for run, look in zip(runs, looks, strict=True)
    ]
    columns = [Column("run"), *(Column(*_title(runs, name)) for name in chosen)]
    paired = differences.found(runs)
    note = _NOTE.format(paired="differences below and the " if paired else "")
    body = lines(
        element("p", _sentence(runs), class_="lead"),
        table("Figures of each run", columns, rows, class_="numbers"),
        element("p", note, class_="note"),
        differences.shown(paired, looks) if paired else None,
        _everything(runs, looks, names),
    )
    tables = {"summary": as_table(runs, names)}
    if paired:
        tables["reward_differences"] = differences.as_table(paired)
    return Section(
        "summary",
        "Summary",
        body,
        tables=tables,
        data={
            run.label: {
                n: dataclasses.asdict(x) for n, x in run.evaluated.figures.items()
            }
            for run in runs
        },
        others={"reward-differences": differences.as_data(paired)} if paired else {},
    )


def all_figures(runs: Sequence[ReportedRun]) -> list[str]:
    """The names of the figures that any run has, in the order of tables."""
    return in_table_order({name for run in runs for name in run.evaluated.figures})


def as_table(runs: Sequence[ReportedRun], names: Sequence[str]) -> Table:
    """Figures as rows of a file."""
    rows = []
    for run in runs:
        for name in names:
            if found := run.evaluated.figures.get(name):
                ends = (found.low, found.high, found.standard_error)
                rows.append((run.label, name, found.value, *ends, figure(name).unit))
    columns = ("run", "figure", "value", "low", "high", "standard_error", "unit")
    return Table(columns, rows)


def marks(runs: Sequence[ReportedRun], name: str) -> dict[str, str]:
    """Which runs are the best by a figure, as far as intervals tell.

    Args:
      runs: all of a report.
      name: the figure's.

    Returns:
      By label: `BEST` for one run whose interval lies apart from all others; else
      `LEVEL` for all whose intervals meet that of the best. Empty where neither
      direction is better, or a run has no interval.
    """
    higher = figure(name).higher_is_better
    found = {
        run.label: run.evaluated.figures[name]
        for run in runs
        if run.is_policy and name in run.evaluated.figures
    }
    if higher is None or len(found) < 2:
        return {}
    if any(x.low is None or x.high is None for x in found.values()):
        return {}
    choose = max if higher else min
    best = choose(found, key=lambda label: found[label].value)
    level = {label: LEVEL for label, x in found.items() if _meet(x, found[best])}
    if len(level) == len(found) and len({x.value for x in found.values()}) == 1:
        return {}  # all the same: nothing to tell
    return level if len(level) > 1 else {best: BEST}


def _meet(one: Estimate, other: Estimate) -> bool:
    return one.low <= other.high and other.low <= one.high


def _cell(run: ReportedRun, name: str, marked: dict[str, str]) -> Html:
    estimate, row = run.evaluated.figures.get(name), figure(name)
    if estimate is None:
        return element("td", element("span", "–", aria_label="none"), class_="none")
    mark = marked.get(run.label)
    interval = None
    if estimate.low is not None and estimate.high is not None:
        ends = (value_text(row, x) for x in (estimate.low, estimate.high))
        interval = element("span", "[", " to ".join(ends), "]", class_="interval")
    return element(
        "td", sign(mark), value_text(row, estimate.value), interval, class_=mark
    )


def _title(runs: Sequence[ReportedRun], name: str) -> tuple[str, str]:
    row = figure(name)
    title = row.title
    if name == _REWARD and (first := first_reward(runs)):
        title = f"{row.title}: {first}"
    arrow = {True: "higher is better", False: "lower is better", None: ""}
    return title, ", ".join(filter(None, (row.unit, arrow[row.higher_is_better])))


def first_reward(runs: Sequence[ReportedRun]) -> str | None:
    """The name of the reward that `reward` is the mean of."""
    for run in runs:
        for response in run.evaluated.responses[:1]:
            if response.rewards:
                return next(iter(response.rewards))
    return None


def totals(names: Sequence[str], first: str | None) -> list[str]:
    """Those of figures that are mean rewards, each reward once.

    Args:
      names: of all figures.
      first: the reward of which `reward` is the mean.
    """
    again = f"{_REWARD}/{first}" if _REWARD in names else None
    return [
        name
        for name in names
        if name == _REWARD
        or (name.startswith(f"{_REWARD}/") and name.count("/") == 1 and name != again)
    ]


def _is_headline(name: str, names: Sequence[str], first: str | None) -> bool:
    if name.startswith(f"{_REWARD}/"):
        return name in totals(names, first)
    return name == "length" or not (name in SPREAD or name.startswith("value/"))


def _sentence(runs: Sequence[ReportedRun]) -> str:
    policies = [run for run in runs if run.is_policy]
    prompts = max(len({x.prompt_id for x in run.evaluated.responses}) for run in runs)
    asked = f"{counted(len(policies), 'run')}, {counted(prompts, 'prompt')}."
    found = {
        run.label: run.evaluated.figures[_REWARD]
        for run in policies
        if _REWARD in run.evaluated.figures
    }
    if len(found) < 2:
        return asked
    best = max(found, key=lambda label: found[label].value)
    marked, row = marks(runs, _REWARD), figure(_REWARD)
    what = f"the mean reward{f' ({n})' if (n := first_reward(runs)) else ''}"
    value = value_text(row, found[best].value)
    if marked.get(best) == BEST:
        return (
            f"{asked} By {what}, {best} is best, at {value}; its interval lies apart."
        )
    if marked:
        others = [label for label in marked if label != best]
        level = f"{', '.join(others)} cannot be told apart from it by intervals alone"
        return f"{asked} By {what}, {best} has the highest, {value}; {level}."
    return f"{asked} By {what}, {best} has the highest, {value}."


def _everything(runs, looks, names) -> Html:
    rows = []
    for name in names:
        row, marked = figure(name), marks(runs, name)
        title, hint = _title(runs, name)
        said = [title, element("span", hint, class_="hint") if hint else None]
        meaning = element("td", row.meaning, class_="text meaning")
        rows.append([said, *(_cell(run, name, marked) for run in runs), meaning])
    columns = [Column("figure"), *(Column(look.name()) for look in looks)]
    columns.append(Column("what it is", is_text=True))
    inside = table("All figures", columns, rows, class_="numbers")
    return element(
        "details", element("summary", "All figures, and what they are"), inside
    )
