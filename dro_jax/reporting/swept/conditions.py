"""The best setting of each objective under each condition, side by side."""

from collections.abc import Mapping, Sequence

from dro_jax.evaluation.figures import figure
from dro_jax.reporting.html import element, file_name, lines
from dro_jax.reporting.section import Section
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept import axis_pictures
from dro_jax.reporting.swept.axes import AtValue, Curve
from dro_jax.reporting.swept.axis_pictures import Panel
from dro_jax.reporting.swept.choice import chosen, marks
from dro_jax.reporting.swept.figures import (
    cell_of,
    in_text,
    settings_lines,
    title_of,
)
from dro_jax.reporting.swept.markdown import markdown
from dro_jax.reporting.swept.reading import key_of
from dro_jax.reporting.swept.settings import Cell, in_words
from dro_jax.reporting.tables import Column, table

_MOST_PANELS = 12
_TEXT = (
    "{figure} of the best setting of each row under each condition, chosen there on one "
    "half of the prompts and reported on the other. ★ and ≈ are within a column: orders "
    "of two columns may differ, and other prompts or data may be another scale."
)


def section(
    cells: Sequence[Cell],
    looks: Mapping[str, RunStyle],
    chooses: str,
    conditions: Sequence[str],
) -> Section | None:
    """The part of the page; None where there is one condition.

    Args:
      cells, looks, chooses, conditions: as for the comparison.
    """
    if len(cells) < 2:
        return None
    rows: dict[str, list] = {name: [] for name in looks}
    for cell in cells:
        found = {name: x for name, x in chosen(cell, chooses).items() if x is not None}
        marked = marks(found, chooses, cell.reporting)
        for name, row in rows.items():
            setting = found.get(name)
            estimate = setting and setting.estimate(chooses, cell.reporting)
            notes = settings_lines(setting) if setting else []
            row.append(cell_of(chooses, estimate, marked.get(name), notes))
    body = [[looks[name].name(), *row] for name, row in rows.items()]
    columns = [Column(""), *(Column(cell.name) for cell in cells)]
    title = figure(chooses).title
    shown = [table(f"{title} by condition", columns, body, class_="numbers")]
    figures = {}
    for axis in conditions:
        panels = panels_along(cells, axis, conditions, chooses, looks)[:_MOST_PANELS]
        if not panels:
            continue
        limits = axis_pictures.limits_of(panels)
        file = file_name(f"conditions {axis}", figures)
        figures[file] = axis_pictures.draw(panels, chooses, title_of(cells, chooses))
        drawn = [
            axis_pictures.inline_panel(one, f"{file} {n}", chooses, limits)
            for n, one in enumerate(panels)
        ]
        shown.append(element("h3", element("code", axis)))
        shown.append(element("div", lines(*drawn), class_="panels"))
    text = element("p", _TEXT.format(figure=title.capitalize()))
    return Section("conditions", "By condition", lines(text, *shown), {}, figures)


def panels_along(
    cells: Sequence[Cell],
    axis: str,
    conditions: Sequence[str],
    chooses: str,
    looks: Mapping[str, RunStyle],
) -> list[Panel]:
    """Each objective's best along one condition; a panel for each value of the others."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        others = {x: cell.condition.get(x) for x in conditions if x != axis}
        groups.setdefault(key_of(others), []).append(cell)
    found = []
    for own in groups.values():
        names = dict.fromkeys(name for cell in own for name in cell.compared)
        curves = [_curve(own, name, axis, chooses) for name in names]
        curves = [curve for curve in curves if len(curve.points) > 1]
        others = {x: own[0].condition.get(x) for x in conditions if x != axis}
        if curves:
            styles = [looks[curve.compared] for curve in curves]
            labels = [curve.compared for curve in curves]
            found.append(Panel(in_words(others), curves, styles, labels))
    return found


def as_markdown(cells: Sequence[Cell], chooses: str, compared: str) -> str:
    """The table that documents quote; empty where there is one condition."""
    if len(cells) < 2:
        return ""
    names = dict.fromkeys(name for cell in cells for name in cell.compared)
    found = [chosen(cell, chooses) for cell in cells]
    body = [
        [name, *(
            in_text(chooses, own and own.estimate(chooses, cell.reporting))
            for cell, by_name in zip(cells, found, strict=True)
            for own in [by_name.get(name)]
        )]
        for name in names
    ]  # fmt: skip
    return markdown([compared, *(cell.name for cell in cells)], body)


def _curve(cells: Sequence[Cell], name: str, axis: str, chooses: str) -> Curve:
    points = []
    for cell in cells:
        setting = chosen(cell, chooses).get(name)
        if setting is None or axis not in cell.condition:
            continue
        points.append(
            AtValue(
                cell.condition[axis],
                setting,
                setting.estimate(chooses, cell.reporting),
                setting.estimate("kl", cell.reporting),
                setting.by_seed(chooses, cell.reporting),
            )
        )
    numbers = all(isinstance(x.value, int | float) for x in points)
    points.sort(key=lambda x: x.value if numbers else 0)
    return Curve(cells[0], name, axis, points)
