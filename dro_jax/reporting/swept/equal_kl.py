"""The best setting of each objective within a budget of KL, and reward against KL."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept import kl_picture
from dro_jax.reporting.swept.choice import budgets, chosen, marks
from dro_jax.reporting.swept.dots import MOST_CELLS, file_of
from dro_jax.reporting.swept.figures import (
    cell_of,
    condition_cells,
    ends,
    in_text,
    settings_lines,
    title_of,
)
from dro_jax.reporting.swept.markdown import markdown
from dro_jax.reporting.swept.settings import Cell, Setting
from dro_jax.reporting.tables import Column, table, value_text

_KL = "kl"
_TEXT = (
    "A policy that goes far from the reference may earn more for that alone. Of each row "
    "the setting with the highest {figure} among those whose KL is at most so many nats, "
    "chosen on one half of the prompts and reported on the other; below it the KL there. "
    "★ and ≈ are as above, within a column."
)
_PICTURE = (
    "Marks are settings, with 95% intervals, on the half that reports. A line joins "
    "those of one objective that had the highest {figure} up to their KL on the half that "
    "chooses; other settings are faint."
)


@dataclasses.dataclass(frozen=True)
class Within:
    """What one objective does within a budget.

    Attributes:
      name: of what is compared.
      most: the budget, nats.
      setting: that was chosen; None, no setting stays within it.
      value, kl: on the half that reports.
      mark: whether it is best within the budget.
    """

    name: str
    most: float
    setting: Setting | None
    value: Estimate | None = None
    kl: Estimate | None = None
    mark: str | None = None


def within(cell: Cell, most: float, chooses: str) -> list[Within]:
    """A row for each that is compared."""
    found = chosen(cell, chooses, most_kl=most)
    there = {name: x for name, x in found.items() if x is not None}
    marked = marks(there, chooses, cell.reporting)
    return [
        Within(name, most, None)
        if setting is None
        else Within(
            name,
            most,
            setting,
            setting.estimate(chooses, cell.reporting),
            setting.estimate(_KL, cell.reporting),
            marked.get(name),
        )
        for name, setting in found.items()
    ]


def section(
    cells: Sequence[Cell],
    looks: Mapping[str, RunStyle],
    chooses: str,
    conditions: Sequence[str],
) -> Section | None:
    """The part of the page; None where no run has a KL.

    Args:
      cells, looks, chooses, conditions: as for the comparison.
    """
    having = [cell for cell in cells if kl_picture.points_of(cell, chooses)]
    if not having:
        return None
    limits = budgets(having, chooses)
    rows = [(cell, [within(cell, k, chooses) for k in limits]) for cell in having]
    figures, parts = {}, []
    for number, (cell, own) in enumerate(rows):
        shown = [_table(cell, limits, own, chooses, looks)] if limits else []
        if number < MOST_CELLS:
            drawn = kl_picture.draw(cell, looks, chooses, title_of(cells, chooses))
            file = file_of("reward_against_kl", cell, figures)
            figures[file] = drawn
            shown.append(kl_picture.shown(drawn, file, cell, chooses))
        if cell.name:
            summary = element("summary", cell.name)
            shown = [element("details", summary, lines(*shown), open=number == 0)]
        parts += shown
    title = figure(chooses).title
    body = lines(
        element("p", _TEXT.format(figure=title)) if limits else None,
        *parts,
        element("p", _PICTURE.format(figure=title), class_="note"),
    )
    tables = {
        "equal_kl": _as_table(rows, chooses, conditions),
        "reward_against_kl": kl_picture.as_table(having, chooses, conditions),
    }
    return Section(
        "equal-kl", "At equal KL", body, tables, figures, _as_data(rows, chooses)
    )


def as_markdown(
    cells: Sequence[Cell], chooses: str, conditions: Sequence[str], compared: str
) -> str:
    """The same as a table that documents quote; empty without budgets."""
    cells = [cell for cell in cells if kl_picture.points_of(cell, chooses)]
    limits = budgets(cells, chooses)
    if not limits:
        return ""
    body = []
    for cell in cells:
        by_limit = [within(cell, k, chooses) for k in limits]
        for of_one in zip(*by_limit, strict=True):
            given = condition_cells(cell, conditions)
            texts = [in_text(chooses, x.value) for x in of_one]
            body.append([of_one[0].name, *given, *texts])
    titles = [f"KL ≤ {k:g}" for k in limits]
    return markdown([compared, *conditions, *titles], body)


def _table(cell: Cell, limits, by_limit, chooses: str, looks) -> Html:
    body = []
    for of_one in zip(*by_limit, strict=True):
        name = of_one[0].name
        cells = [_cell(cell, x, chooses) for x in of_one]
        body.append([looks[name].name() if name in looks else name, *cells])
    columns = [Column(""), *(Column(f"KL ≤ {k:g}", "nats") for k in limits)]
    where = f", {cell.name}" if cell.name else ""
    caption = (
        f"{figure(chooses).title} of the best setting within a budget of KL{where}"
    )
    return table(caption, columns, body, class_="numbers")


def _cell(cell: Cell, x: Within, chooses: str) -> Html:
    if x.setting is None:
        kls = [own.mean(_KL, cell.choosing) for own in cell.of(x.name)]
        least = min((kl for kl in kls if not math.isnan(kl)), default=None)
        said = "no KL" if least is None else f"least KL {least:.2f}"
        inner = element("span", said, class_="interval")
        return element("td", "–", inner, class_="none")
    at = value_text(figure(_KL), x.kl.value) if x.kl else "–"
    return cell_of(chooses, x.value, x.mark, [f"KL {at}", *settings_lines(x.setting)])


def _as_table(rows, chooses: str, conditions: Sequence[str]) -> Table:
    columns = (*conditions, "most_kl", "compared", "setting", "seeds", "mark", chooses,
               f"{chooses}_low", f"{chooses}_high", "kl", "kl_low", "kl_high")  # fmt: skip
    found = [
        (*condition_cells(cell, conditions), x.most, x.name,
         x.setting and x.setting.name, x.setting and x.setting.seeds, x.mark,
         *ends(x.value), *ends(x.kl))
        for cell, by_limit in rows
        for of_limit in by_limit
        for x in of_limit
    ]  # fmt: skip
    return Table(columns, found)


def _as_data(rows, chooses: str) -> list[dict[str, Any]]:
    return [
        {
            "condition": dict(cell.condition),
            "most_kl": x.most,
            "compared": x.name,
            "setting": dict(x.setting.values) if x.setting else None,
            "mark": x.mark,
            chooses: x.value and dataclasses.asdict(x.value),
            "kl": x.kl and dataclasses.asdict(x.kl),
        }
        for cell, by_limit in rows
        for of_limit in by_limit
        for x in of_limit
    ]
