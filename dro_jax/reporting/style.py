"""How each run looks in every figure and table: a colour, a mark and a kind of line."""

import dataclasses
from collections.abc import Sequence

from dro_jax.reporting.html import Html, element
from dro_jax.reporting.reported_run import ReportedRun

# Told apart by people who see no red, green or blue, and 3:1 at least on the page's
# white; page.css has a lighter one for each on a dark page.
COLOURS = (
    "#1f62ad",
    "#b4540f",
    "#2a7f4f",
    "#8a4a9e",
    "#a3324a",
    "#16798a",
    "#86690b",
    "#56606b",
)
# matplotlib's names, and the same shape within 12 × 12.
_MARKS = {
    "o": "M6 1.5a4.5 4.5 0 1 0 .01 0z",
    "s": "M2 2h8v8h-8z",
    "^": "M6 1.2l5 9.3h-10z",
    "D": "M6 .8l5.2 5.2l-5.2 5.2l-5.2 -5.2z",
    "v": "M6 10.8l-5 -9.3h10z",
    "P": "M4.3 1h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
    "X": "M3.2 1l2.8 2.8l2.8 -2.8l2.2 2.2l-2.8 2.8l2.8 2.8l-2.2 2.2l-2.8 -2.8l-2.8 2.8"
    "l-2.2 -2.2l2.8 -2.8l-2.8 -2.8z",
}
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclasses.dataclass(frozen=True)
class RunStyle:
    """A run's look.

    Attributes:
      label: its name.
      number: its place among the runs, from 0.
      colour: as matplotlib draws it.
      mark: matplotlib's name of it.
      line: matplotlib's style of lines.
    """

    label: str
    number: int
    colour: str
    mark: str
    line: str | tuple

    def key(self) -> Html:
        """Its mark, in its colour, for a page's text."""
        shape = element("path", d=_MARKS[self.mark])
        colour = f"--run: var(--run-{self.number % len(COLOURS)})"
        return element(
            "svg", shape, class_="key", viewBox="0 0 12 12", style=colour,
            aria_hidden="true",
        )  # fmt: skip

    def name(self) -> Html:
        """The mark and the label."""
        return Html(f"{self.key()} {element('span', self.label, class_='run')}")


def styles(runs: Sequence[ReportedRun]) -> list[RunStyle]:
    """One for each run, in their order, no two alike before there are 35."""
    return looks_of([run.label for run in runs])


def looks_of(labels: Sequence[str]) -> list[RunStyle]:
    """One for each label, as those of runs."""
    marks = list(_MARKS)
    return [
        RunStyle(
            label=label,
            number=number,
            colour=COLOURS[number % len(COLOURS)],
            mark=marks[number % len(marks)],
            line=_LINES[number // len(COLOURS) % len(_LINES)],
        )
        for number, label in enumerate(labels)
    ]
