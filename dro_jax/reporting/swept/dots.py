"""A row each: a figure, its interval, and the figure of each seed."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from dro_jax.evaluation.figures import figure
from dro_jax.reporting.drawing import SOFT, Canvas, inline, plain
from dro_jax.reporting.html import Html, element, file_name
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.swept.figures import in_text
from dro_jax.reporting.swept.settings import Cell

MOST_CELLS = 8  # of which pictures are drawn
_WIDTH = 420


def draw(
    rows: Sequence[Any],
    looks: Mapping[str, RunStyle],
    name: str,
    title: str,
    where: str = "",
):
    """References as dotted lines, the others as dots with their intervals.

    Args:
      rows: as `dro_jax.reporting.swept.comparison.Row`.
      looks: by name; a row without one is a reference.
      name: of the figure.
      title: of the axis.
      where: the condition, in words.
    """
    own = [row for row in rows if row.name in looks and row.figures.get(name)]
    with Canvas(_WIDTH, 80 + 21 * len(own)) as drawn:
        axes = drawn.add_subplot()
        for place, row in enumerate(own):
            look, found = looks[row.name], row.figures[name]
            if found.low is not None and found.high is not None:
                ends = [found.low, found.high]
                axes.plot(ends, [place] * 2, color=look.colour, lw=2)
            axes.plot(found.value, place, look.mark, color=look.colour, ms=7)
        for row in rows:
            if row.name not in looks and (found := row.figures.get(name)):
                axes.axvline(found.value, color=SOFT, linestyle=":", linewidth=1.2)
                axes.annotate(
                    row.name, (found.value, 1), xycoords=("data", "axes fraction"),
                    xytext=(3, 2), textcoords="offset points", color=SOFT, fontsize=9,
                )  # fmt: skip
        axes.set_yticks(range(len(own)), [short(row.name, 26) for row in own])
        axes.set_ylim(len(own) - 0.5, -0.5)
        axes.set_xlabel(title)
        if where:
            axes.set_title(short(where, 44), loc="left", pad=16)
        axes.locator_params(axis="x", nbins=6)
        plain(axes, "x")
    return drawn


def file_of(words: str, cell: Cell, taken: Container[str]) -> str:
    """A file's name, with the condition in it."""
    return file_name(f"{words} {cell.name}".strip(), taken)


def shown(drawn, file: str, rows: Sequence[Any], name: str) -> Html:
    """The picture on the page."""
    said = "; ".join(
        f"{row.name} {in_text(name, row.figures.get(name))}" for row in rows
    )
    title = f"{figure(name).title} of the best settings"
    return element("div", inline(drawn, file, title, f"{said}."), class_="figures")
