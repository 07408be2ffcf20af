"""The best setting of each objective, on prompts that did not choose it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.figures import figure
from dro_jax.plurals import counted
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.marks import BEST
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept import differences, dots
from dro_jax.reporting.swept.choice import chosen, marks, seeds_apart
from dro_jax.reporting.swept.figures import (
    cell_of,
    condition_cells,
    ends,
    hint_of,
    in_text,
    settings_cell,
    shown_figures,
    title_of,
)
from dro_jax.reporting.swept.markdown import markdown
from dro_jax.reporting.swept.settings import Cell, Setting
from dro_jax.reporting.tables import Column, table, value_text

_TEXT = (
    "Of each row the setting with the highest {figure} on one half of the prompts, and "
    "what it does on the other half, which had no say. In brackets 95% intervals over "
    "prompts and, where there are several, seeds; those of distinct-n and self-BLEU are "
    "over seeds alone. ★ is surely above all other rows, by paired differences (Holm, "
    "5%); else ≈ marks those that cannot be told from the highest."
)
_SEEDS_APART = (
    "Both halves are answered by the same runs, and luck of a setting's seeds is on both. "
    "“Seeds apart” chooses by the other seeds and reports the one left out, each in turn: "
    "where it lies lower, that much was luck of seeds."
)
_ONE_SEED = (
    "With one seed, intervals are over prompts alone: they tell of this run, and another "
    "seed may give another order."
)


@dataclasses.dataclass(frozen=True)
class Row:
    """What is reported of one objective.

    Attributes:
      name: of what is compared.
      setting: that was chosen; None, there was none to choose.
      figures: on the half that reports.
      chosen_at: the figure that chose, on the half that chose.
      spread: of the seeds' figures on the half that reports, a standard deviation.
      apart: the figure with seeds left out in turn.
      mark: whether it is best.
      of: how many settings there were.
    """

    name: str
    setting: Setting | None
    figures: Mapping[str, Estimate | None]
    chosen_at: float | None = None
    spread: float | None = None
    apart: Estimate | None = None
    mark: str | None = None
    of: int = 0


def rows_of(cell: Cell, names: Sequence[str]) -> list[Row]:
    """References, then a row for each that is compared.

    Args:
      cell: its settings.
      names: of figures; the first chooses.
    """
    chooses, found = names[0], chosen(cell, names[0])
    there = {name: setting for name, setting in found.items() if setting is not None}
    marked = marks(there, chooses, cell.reporting)
    rows = [Row(x.compared, x, _figures(cell, x, names)) for x in cell.references]
    for name, setting in found.items():
        of = len(cell.of(name))
        if setting is None:
            rows.append(Row(name, None, {}, of=of))
            continue
        by_seed = setting.by_seed(chooses, cell.reporting)
        spread = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
        rows.append(
            Row(
                name,
                setting,
                _figures(cell, setting, names),
                setting.mean(chooses, cell.choosing),
                spread,
                seeds_apart(cell, name, chooses),
                marked.get(name),
                of,
            )
        )
    return rows


def section(
    cells: Sequence[Cell],
    looks: Mapping[str, RunStyle],
    chooses: str,
    conditions: Sequence[str],
) -> Section:
    """The part of the page.

    Args:
      cells: all of a sweep.
      looks: by what is compared.
      chooses: the figure by which settings are chosen.
      conditions: axes of conditions.
    """
    names = shown_figures(cells, chooses)
    rows = [(cell, rows_of(cell, names)) for cell in cells]
    apart = [(cell, differences.found(cell, own, chooses)) for cell, own in rows]
    figures, parts = {}, []
    for number, ((cell, own), (_, pairs)) in enumerate(zip(rows, apart, strict=True)):
        shown = [_table(cells, cell, own, names, looks)]
        if number < dots.MOST_CELLS:
            drawn = dots.draw(own, looks, chooses, title_of(cells, chooses), cell.name)
            file = dots.file_of("best_settings", cell, figures)
            figures[file] = drawn
            shown.append(dots.shown(drawn, file, own, chooses))
        shown.append(differences.shown(pairs, looks, chooses, cell.name))
        parts.append(_folded(cell, lines(*shown), is_open=number == 0))
    seeds = {len(x.runs) for cell in cells for x in cell.settings}
    body = lines(
        element("p", _sentence(rows[0], chooses, cells), class_="lead"),
        element("p", _TEXT.format(figure=figure(chooses).title)),
        *parts,
        element("p", _SEEDS_APART, class_="note") if max(seeds) > 1 else None,
        element("p", _ONE_SEED, class_="note") if min(seeds) == 1 else None,
    )
    tables = {
        "comparison": _as_table(rows, names, conditions),
        "differences": differences.as_table(apart, chooses, conditions),
    }
    return Section(
        "comparison", "Comparison", body, tables, figures, _as_data(rows),
        {"differences": differences.as_data(apart, chooses)},
    )  # fmt: skip


def as_markdown(
    cells: Sequence[Cell], chooses: str, conditions: Sequence[str], compared: str
) -> str:
    """The same as a table that documents quote."""
    names = shown_figures(cells, chooses)
    titles = [title_of(cells, name) for name in names]
    body = [
        [row.name, *condition_cells(cell, conditions), _setting(row), _seeds(row),
         *(in_text(name, row.figures.get(name)) for name in names)]
        for cell in cells
        for row in rows_of(cell, names)
    ]  # fmt: skip
    return markdown([compared, *conditions, "setting", "seeds", *titles], body)


def _figures(cell: Cell, setting: Setting, names: Sequence[str]) -> dict[str, Any]:
    return {name: setting.estimate(name, cell.reporting) for name in names}


def _table(cells, cell: Cell, rows: Sequence[Row], names, looks) -> Html:
    chooses = names[0]
    several = any(row.apart for row in rows)
    body = []
    for row in rows:
        notes = []
        if row.spread is not None:
            notes = [f"seeds ±{value_text(figure(chooses), row.spread)}"]
        shown = [cell_of(chooses, row.figures.get(chooses), row.mark, notes)]
        shown += [cell_of(chooses, row.apart)] if several else []
        shown += [cell_of(name, row.figures.get(name)) for name in names[1:]]
        look = looks.get(row.name)
        name = look.name() if look else row.name
        body.append([name, settings_cell(row.setting), _seeds(row), *shown])
    columns = [Column(""), Column("setting", is_text=True), Column("seeds")]
    columns.append(Column(title_of(cells, chooses), hint_of(chooses)))
    columns += [Column("seeds apart", "of the same")] if several else []
    columns += [Column(title_of(cells, x), hint_of(x)) for x in names[1:]]
    caption = "The best setting of each, on the prompts that did not choose it"
    where = f", {cell.name}" if cell.name else ""
    return table(f"{caption}{where}", columns, body, class_="numbers")


def _folded(cell: Cell, inside: Html, *, is_open: bool) -> Html:
    if not cell.name:
        return inside
    return element("details", element("summary", cell.name), inside, open=is_open)


def _setting(row: Row) -> str:
    if row.setting is None:
        return "none has this figure"
    return row.setting.name or "–"


def _seeds(row: Row) -> str:
    return row.setting.seeds if row.setting else "–"


def _sentence(first: tuple[Cell, Sequence[Row]], chooses: str, cells) -> str:
    cell, rows = first
    settings = sum(len(one.settings) for one in cells)
    runs = sum(len(x.runs) for one in cells for x in one.settings)
    asked = (
        f"{counted(len(cell.compared), 'row')} of {counted(settings, 'setting')} and "
        f"{counted(runs, 'run')}; {len(cell.choosing):,} prompts choose, "
        f"{len(cell.reporting):,} report."
    )
    marked = [row for row in rows if row.mark]
    if not marked:
        return asked
    best = max(marked, key=lambda row: row.figures[chooses].value)
    value = value_text(figure(chooses), best.figures[chooses].value)
    what = (
        f"{f'With {cell.name}, by' if cell.name else 'By'} {title_of(cells, chooses)}"
    )
    if best.mark == BEST:
        return f"{asked} {what}, {best.name} is best, at {value}."
    others = ", ".join(row.name for row in marked if row is not best)
    level = f"{others} cannot be told from it"
    return f"{asked} {what}, {best.name} has the highest, {value}; {level}."


def _as_table(rows, names: Sequence[str], conditions: Sequence[str]) -> Table:
    columns = [*conditions, "compared", "setting", "seeds", "settings", "mark"]
    columns += ["chosen_at", "seeds_sd"]
    columns += [f"seeds_apart{end}" for end in ("", "_low", "_high")]
    columns += [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    found = [
        (*condition_cells(cell, conditions), row.name, _setting(row), _seeds(row),
         row.of, row.mark, row.chosen_at, row.spread, *ends(row.apart),
         *(x for name in names for x in ends(row.figures.get(name))))
        for cell, own in rows
        for row in own
    ]  # fmt: skip
    return Table(columns, found)


def _as_data(rows) -> list[dict[str, Any]]:
    return [
        {
            "condition": dict(cell.condition),
            "compared": row.name,
            "setting": dict(row.setting.values) if row.setting else None,
            "runs": [run.trial.label for run in row.setting.runs]
            if row.setting
            else [],
            "settings": row.of,
            "mark": row.mark,
            "chosen_at": row.chosen_at,
            "seeds_sd": row.spread,
            "seeds_apart": row.apart and dataclasses.asdict(row.apart),
            "figures": {
                name: dataclasses.asdict(x) for name, x in row.figures.items() if x
            },
        }
        for cell, own in rows
        for row in own
    ]
