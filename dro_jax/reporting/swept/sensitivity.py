"""How much each setting matters to each objective."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.evaluation.figures import figure
from dro_jax.reporting.html import Html, element, file_name, lines
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle, looks_of
from dro_jax.reporting.sweep_results import SweepResults
from dro_jax.reporting.swept import axis_pictures
from dro_jax.reporting.swept.axes import Curve, curve_of, swept_axes
from dro_jax.reporting.swept.axis_pictures import Panel
from dro_jax.reporting.swept.figures import (
    cell_of,
    condition_cells,
    ends,
    in_text,
    title_of,
)
from dro_jax.reporting.swept.markdown import markdown
from dro_jax.reporting.swept.reading import compared_value, key_of
from dro_jax.reporting.swept.settings import Cell, shown_value
from dro_jax.reporting.tables import Column, table, value_text

_MOST_BYTES = 700_000  # of the page, for all panels
_MOST_VALUES = 10  # of a table's columns
_TEXT = (
    "{figure} and KL at each value of a setting, all other settings at their best with "
    "it: chosen on one half of the prompts, reported on the other. Lines are 95% "
    "intervals over prompts and seeds, small dots are seeds. Of a setting that was drawn "
    "from a range each mark is one setting, whatever the others were."
)


def curves_of(cells: Sequence[Cell], chooses: str) -> dict[str, list[Curve]]:
    """All curves by axis; those of one objective side by side."""
    found: dict[str, list[Curve]] = {}
    names = dict.fromkeys(name for cell in cells for name in cell.compared)
    for axis in swept_axes(cells):
        curves = [
            curve
            for name in names
            for cell in cells
            if (curve := curve_of(cell, name, axis, chooses)) is not None
        ]
        if curves:
            found[axis] = curves
    return found


def section(
    cells: Sequence[Cell],
    looks: Mapping[str, RunStyle],
    chooses: str,
    results: SweepResults,
) -> Section | None:
    """The part of the page; None where no setting was swept.

    Args:
      cells, looks, chooses: as for the comparison.
      results: the sweep's trials, which tell what had no effect.
    """
    by_axis, figures, parts, size = curves_of(cells, chooses), {}, [], 0
    title = title_of(cells, chooses)
    of_cells = looks_of([cell.name for cell in cells])
    for axis, curves in by_axis.items():
        panels = _panels(curves, cells, of_cells, looks)
        file = file_name(f"sensitivity {axis}", figures)
        figures[file] = axis_pictures.draw(panels, chooses, title)
        limits, shown = axis_pictures.limits_of(panels), []
        for number, one in enumerate(panels):
            if size > _MOST_BYTES:
                break
            name = f"{file} {number}"
            shown.append(axis_pictures.inline_panel(one, name, chooses, limits))
            size += len(shown[-1].encode())
        parts.append(_of_axis(axis, curves, shown, looks, chooses, results))
        if len(shown) < len(panels):
            note = f"All panels are in figures/{file}.png."
            parts.append(element("p", note, class_="note"))
    if not parts:
        return None
    legend = [element("li", x.name()) for x in of_cells] if len(cells) > 1 else []
    body = lines(
        element("p", _TEXT.format(figure=figure(chooses).title.capitalize())),
        element("ul", legend, class_="legend", aria_label="Conditions")
        if legend
        else None,
        *parts,
    )
    tables = {"sensitivity": _as_table(by_axis, chooses, results.conditions)}
    data = [one for curves in by_axis.values() for one in _as_data(curves, chooses)]
    return Section("sensitivity", "Sensitivity", body, tables, figures, data)


def as_markdown(
    cells: Sequence[Cell], chooses: str, conditions: Sequence[str], compared: str
) -> dict[str, str]:
    """A table an axis that documents quote, by the axis; not of what was searched."""
    found = {}
    for axis, curves in curves_of(cells, chooses).items():
        curves = [curve for curve in curves if not curve.is_searched]
        if not curves:
            continue
        values = _values(curves)
        body = []
        for curve in curves:
            at = {key_of(x.value): in_text(chooses, x.figure) for x in curve.points}
            texts = [at.get(key, "–") for key in values]
            given = condition_cells(curve.cell, conditions)
            body.append([curve.compared, *given, *texts])
        titles = [f"{axis} {shown_value(x)}" for x in values.values()]
        found[axis] = markdown([compared, *conditions, *titles], body)
    return found


def _panels(curves: Sequence[Curve], cells, of_cells, looks) -> list[Panel]:
    """One of each objective, a line a condition; of one condition it has its own look."""
    by_compared: dict[str, list[Curve]] = {}
    for curve in curves:
        by_compared.setdefault(curve.compared, []).append(curve)
    found = []
    for name, own in by_compared.items():
        several = len(cells) > 1
        styles = [
            of_cells[cells.index(x.cell)] if several else looks[name] for x in own
        ]
        found.append(Panel(name, own, styles, [x.cell.name for x in own]))
    return found


def _of_axis(
    axis: str, curves: Sequence[Curve], shown, looks, chooses: str, results
) -> Html:
    found = [curve for curve in curves if not curve.is_searched]
    without = without_effect(results, axis)
    note = None
    if without:
        note = element(
            "p", "The setting had no effect on ", ", ".join(without),
            ": they do not read it.", class_="note",
        )  # fmt: skip
    values = _values(found)
    numbers = None
    if found and len(values) <= _MOST_VALUES:
        inside = _table(axis, found, values, looks, chooses)
        numbers = element("details", element("summary", "The numbers"), inside)
    heading = element("h3", element("code", axis))
    panels = element("div", lines(*shown), class_="panels")
    return lines(heading, panels, note, numbers)


def without_effect(results: SweepResults, axis: str) -> list[str]:
    """What is compared of which no trial reads a setting that was given to some."""
    ignoring, reading = {}, set()
    for trial in results.trials:
        if trial.stage == results.stages[-1]:
            name = compared_value(results, trial)
            if axis in trial.unused:
                ignoring[name] = None
            elif axis in trial.values:
                reading.add(name)
    return [name for name in ignoring if name not in reading]


def _values(curves: Sequence[Curve]) -> dict[str, Any]:
    """All values of an axis, in order."""
    found = {key_of(x.value): x.value for curve in curves for x in curve.points}
    try:
        return dict(sorted(found.items(), key=lambda x: x[1]))
    except TypeError:
        return found


def _table(axis: str, curves, values: Mapping[str, Any], looks, chooses: str) -> Html:
    rows = []
    for curve in curves:
        at = {key_of(x.value): x for x in curve.points}
        cells = []
        for key in values:
            x = at.get(key)
            notes = [f"KL {x.kl.value:.2f}"] if x and x.kl else []
            cells.append(cell_of(chooses, x.figure if x else None, None, notes))
        name = [looks[curve.compared].name(), " ", curve.cell.name]
        rows.append([name, *cells, value_text(figure(chooses), curve.range)])
    columns = [Column(""), *(Column(shown_value(x)) for x in values.values())]
    columns.append(Column("range", "highest less lowest"))
    caption = f"{figure(chooses).title} by {axis}, other settings at their best"
    return table(caption, columns, rows, class_="numbers")


def _as_table(by_axis, chooses: str, conditions: Sequence[str]) -> Table:
    columns = (*conditions, "axis", "compared", "value", "setting", "seeds", chooses,
               f"{chooses}_low", f"{chooses}_high", "kl", "kl_low", "kl_high",
               "lowest_seed", "highest_seed")  # fmt: skip
    rows = [
        (*condition_cells(curve.cell, conditions), axis, curve.compared,
         shown_value(x.value), x.setting.name, x.setting.seeds, *ends(x.figure),
         *ends(x.kl), min(x.by_seed), max(x.by_seed))
        for axis, curves in by_axis.items()
        for curve in curves
        for x in curve.points
    ]  # fmt: skip
    return Table(columns, rows)


def _as_data(curves: Sequence[Curve], chooses: str) -> list[dict[str, Any]]:
    return [
        {
            "axis": curve.axis,
            "compared": curve.compared,
            "condition": dict(curve.cell.condition),
            "range": curve.range,
            "values": [
                {
                    "value": x.value,
                    "setting": dict(x.setting.values),
                    chooses: dataclasses.asdict(x.figure),
                    "kl": x.kl and dataclasses.asdict(x.kl),
                    "by_seed": list(x.by_seed),
                }
                for x in curve.points
            ],
        }
        for curve in curves
    ]
