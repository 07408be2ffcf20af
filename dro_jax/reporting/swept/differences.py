"""Each chosen setting less each other, prompt by prompt."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure
from dro_jax.evaluation.reward_difference import holm
from dro_jax.evaluation.seeds_and_prompts import PooledDifference
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.section import Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept.choice import SURE, paired
from dro_jax.reporting.swept.figures import condition_cells, ends
from dro_jax.reporting.swept.settings import Cell
from dro_jax.reporting.tables import Column, table, value_text

_MOST_COLUMNS = 14
_TEXT = (
    "The {figure} of the row less that of the column, on the prompts that did not choose, "
    "with 95% intervals: prompts are paired, seeds are not. A cell is shaded where p is "
    "below 5% for all pairs of this table at once (Holm): ▲ the row has more, ▼ less."
)

Pairs = Mapping[tuple[str, str], PooledDifference]


def found(cell: Cell, rows: Sequence[Any], chooses: str) -> Pairs:
    """Of all rows that have a setting, by both names, the later first."""
    settings = {row.name: row.setting for row in rows if row.setting is not None}
    return paired(settings, chooses, cell.reporting)


def adjusted(pairs: Pairs) -> dict[tuple[str, str], float | None]:
    """p that holds for all pairs at once."""
    return dict(zip(pairs, holm([x.p_value for x in pairs.values()]), strict=True))


def shown(
    pairs: Pairs, looks: Mapping[str, RunStyle], chooses: str, where: str
) -> Html | None:
    """A matrix that is closed at first; None without pairs."""
    if not pairs:
        return None
    names = list(dict.fromkeys(x for pair in pairs for x in reversed(pair)))
    against, p_values = names[:_MOST_COLUMNS], adjusted(pairs)
    body = []
    for row in names:
        cells = [_cell(pairs, p_values, row, x, chooses) for x in against]
        body.append([_name(looks, row), *cells])
    columns = [Column("this row …", "… less")]
    columns += [Column(_name(looks, x)) for x in against]
    title = f"Differences in {figure(chooses).title}"
    caption = f"{title}{f', {where}' if where else ''}"
    if len(against) < len(names):
        caption += f", from the first {_MOST_COLUMNS} (all: differences.csv)"
    note = element("p", _TEXT.format(figure=figure(chooses).title), class_="note")
    inside = table(caption, columns, body, class_="numbers matrix")
    summary = element("summary", f"{title}, pair by pair")
    return element("details", summary, lines(note, inside))


def as_table(
    rows: Sequence[tuple[Cell, Pairs]], chooses: str, conditions: Sequence[str]
) -> Table:
    """As rows of a file."""
    columns = (*conditions, "first", "second", "figure", "difference", "low", "high",
               "p", "p_holm", "prompts", "first_seeds", "second_seeds")  # fmt: skip
    found = []
    for cell, pairs in rows:
        p_values = adjusted(pairs)
        found += [
            (*condition_cells(cell, conditions), *names, chooses, *ends(x.estimate),
             x.p_value, p_values[names], x.prompts, *x.seeds)
            for names, x in pairs.items()
        ]  # fmt: skip
    return Table(columns, found)


def as_data(rows: Sequence[tuple[Cell, Pairs]], chooses: str) -> list[dict[str, Any]]:
    """As values of JSON."""
    found = []
    for cell, pairs in rows:
        p_values = adjusted(pairs)
        found += [
            {"condition": dict(cell.condition), "first": names[0], "second": names[1],
             "figure": chooses, "p_holm": p_values[names]} | dataclasses.asdict(x)
            for names, x in pairs.items()
        ]  # fmt: skip
    return found


def _name(looks: Mapping[str, RunStyle], name: str) -> Any:
    return looks[name].name() if name in looks else name


def _cell(pairs: Pairs, p_values, row: str, column: str, chooses: str) -> Html:
    if row == column:
        return element("td", class_="itself")
    own, turned = pairs.get((row, column)), pairs.get((column, row))
    if own is None and turned is None:
        return element("td", element("span", "–", aria_label="none"), class_="none")
    estimate = own.estimate if own else _negative(turned.estimate)
    p = p_values.get((row, column), p_values.get((column, row)))
    side, sign = None, None
    if p is not None and p < SURE:
        more = estimate.value > 0
        side = "wins" if more else "loses"
        label = "more" if more else "less"
        sign = element("span", "▲" if more else "▼", class_="mark", aria_label=label)
    row_of = figure(chooses)
    interval = None
    if estimate.low is not None and estimate.high is not None:
        ends_of = (value_text(row_of, x, "+") for x in (estimate.low, estimate.high))
        interval = element("span", f"[{' to '.join(ends_of)}]", class_="interval")
    value = value_text(row_of, estimate.value, "+")
    return element("td", sign, value, interval, class_=side)


def _negative(x: Estimate) -> Estimate:
    low = None if x.high is None else -x.high
    high = None if x.low is None else -x.low
    return Estimate(-x.value, low, high, x.standard_error)
