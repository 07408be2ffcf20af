"""Which figures a sweep's tables show, and how their cells look."""

from collections.abc import Mapping, Sequence

from dro_jax.errors import ConfigError
from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure, in_table_order
from dro_jax.reporting.html import Html, element
from dro_jax.reporting.marks import sign
from dro_jax.reporting.swept.settings import WIN_RATE, Cell, Setting, SweptRun, in_words
from dro_jax.reporting.tables import value_text

_SHOWN = ("kl", "distinct_2", "self_bleu", "length")


def all_runs(cells: Sequence[Cell]) -> list[SweptRun]:
    """Of all cells and settings, each once."""
    runs = [run for cell in cells for setting in cell.settings for run in setting.runs]
    return list({run.trial.number: run for run in runs}.values())


def shown_figures(cells: Sequence[Cell], chooses: str) -> list[str]:
    """Names of the figures of tables: what chooses first, then rewards and win rates.

    Args:
      cells: all of a sweep.
      chooses: the figure by which settings are chosen.
    """
    runs = all_runs(cells)
    names = {name for run in runs for name in run.evaluated.figures}
    rewards = {x for x in names if x.startswith("reward/") and x.count("/") == 1}
    first = {
        f"reward/{name}"
        for run in runs
        for one in run.evaluated.responses[:1]
        for name in list(one.rewards)[:1]
    }
    # Of the first reward `reward` is the mean.
    rewards = {"reward"} & names | rewards - first
    judged = {f"{WIN_RATE}{judge}" for run in runs for judge in run.judged}
    others = {name for name in _SHOWN if name in names}
    found = in_table_order((rewards | judged | others) - {chooses})
    return [chooses, *found]


def check_chooses(cells: Sequence[Cell], chooses: str) -> None:
    """Refuses what no setting can be chosen by.

    Raises:
      ConfigError: no run has it for each prompt, or neither direction is better.
    """
    runs = all_runs(cells)
    names = {name for run in runs for name in run.evaluated.figures}
    known = [
        x
        for x in names
        if x == "reward" or x.startswith("reward/") and x.count("/") == 1
    ]
    known += [f"{WIN_RATE}{judge}" for judge in {j for run in runs for j in run.judged}]
    if runs and chooses not in known:
        raise ConfigError(
            f"no setting can be chosen by '{chooses}': give one of "
            f"{', '.join(in_table_order(sorted(known))) or 'none, as no run has a reward'}"
        )


def title_of(cells: Sequence[Cell], name: str) -> str:
    """Of a column or an axis: `reward` with the name of the first one."""
    title = figure(name).title
    if name == "reward":
        for run in all_runs(cells):
            for one in run.evaluated.responses[:1]:
                for first in list(one.rewards)[:1]:
                    return f"{title}: {first}"
    return title


def hint_of(name: str) -> str:
    """Below a column's title: the unit, and what is better."""
    row = figure(name)
    arrow = {True: "higher is better", False: "lower is better", None: ""}
    return ", ".join(filter(None, (row.unit, arrow[row.higher_is_better])))


def cell_of(
    name: str,
    found: Estimate | None,
    mark: str | None = None,
    notes: Sequence[str] = (),
) -> Html:
    """A cell with the interval below the value.

    Args:
      name: of the figure.
      found: its estimate; None, a dash.
      mark: `BEST`, `LEVEL` or nothing.
      notes: a few words below, a line each.
    """
    if found is None:
        return element("td", element("span", "–", aria_label="none"), class_="none")
    below = interval(name, found)
    more = [element("span", x, class_="interval") for x in (below, *notes) if x]
    value = value_text(figure(name), found.value)
    return element("td", sign(mark), value, more, class_=mark)


def settings_cell(setting: Setting | None) -> Html:
    """What a row's setting is, a line a name."""
    if setting is None:
        return element("td", "none has this figure", class_="set")
    said = settings_lines(setting) or ["–"]
    return element("td", [element("span", x) for x in said], class_="set")


def settings_lines(setting: Setting) -> list[str]:
    """Its values, each by its name."""
    return [in_words({name: x}) for name, x in setting.values.items()]


def interval(name: str, found: Estimate) -> str:
    """`[0.51 to 0.62]`; empty without one, and where all numbers are the same."""
    if found.low is None or found.high is None or found.low == found.high:
        return ""
    ends = (value_text(figure(name), x) for x in (found.low, found.high))
    return f"[{' to '.join(ends)}]"


def in_text(name: str, found: Estimate | None) -> str:
    """`0.56 [0.51 to 0.62]`, for a table of plain text."""
    if found is None:
        return "–"
    return f"{value_text(figure(name), found.value)} {interval(name, found)}".rstrip()


def ends(found: Estimate | None) -> tuple:
    """Value, low and high of a file's row."""
    return (None,) * 3 if found is None else (found.value, found.low, found.high)


def condition_cells(cell: Cell, conditions: Sequence[str]) -> tuple:
    """The first columns of a file's rows."""
    values: Mapping = cell.condition
    return tuple(
        x if isinstance(x := values.get(name), str | int | float) else str(x)
        for name in conditions
    )
