"""Length and diversity of the responses: a panel a figure, and the lengths' shares."""

from collections.abc import Sequence

import numpy as np

from dro_jax.evaluation.figures import figure, in_table_order
from dro_jax.reporting.drawing import FAINT, Canvas, inline, plain
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle

SPREAD = (
    "length",
    "tokens",
    "cut",
    "empty",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "self_bleu",
)
_WIDTH = 280
_PERCENTILES = (5, 25, 50, 75, 95)
_MOST_STEPS = 120


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no run has such a figure.

    Args:
      runs, looks: as for the summary.
    """
    names = {name for run in runs for name in run.evaluated.figures if name in SPREAD}
    if not names:
        return None
    figures, shown = {}, []
    for name in in_table_order(names):
        figures[name] = panel(runs, looks, name)
        shown.append(_inline(runs, name, figures[name]))
    tables = {}
    if any(_tokens(run).size for run in runs):
        figures["response_lengths"] = lengths(runs, looks)
        tables["response_lengths"] = _percentiles(runs)
        shown.append(
            inline(
                figures["response_lengths"], "response-lengths", "Lengths of responses",
                _said_of_lengths(tables["response_lengths"]),
            )
        )  # fmt: skip
    body = lines(
        element(
            "p",
            "Longer is not better, and neither is every kind of variety: read these "
            "beside the rewards. Lines are 95% intervals over prompts. The last panel "
            "gives, for each number of tokens, the share of responses that are no longer.",
        ),
        element("div", lines(*shown), class_="panels"),
    )
    return Section(
        "length-and-diversity", "Length and diversity", body, tables, figures
    )


def panel(runs: Sequence[ReportedRun], looks: Sequence[RunStyle], name: str):
    """A row a run: the figure, and its interval."""
    row = figure(name)
    with Canvas(_WIDTH, 74 + 19 * len(runs)) as drawn:
        axes = drawn.add_subplot()
        for run, look in zip(runs, looks, strict=True):
            if (x := run.evaluated.figures.get(name)) is None:
                continue
            if x.low is not None and x.high is not None:
                axes.plot([x.low, x.high], [look.number] * 2, color=look.colour, lw=2)
            axes.plot(x.value, look.number, look.mark, color=look.colour, ms=6.5)
        axes.set_yticks(
            [look.number for look in looks], [short(x.label) for x in looks]
        )
        axes.set_ylim(len(runs) - 0.5, -0.5)
        axes.set_title(row.title, loc="left")
        axes.set_xlabel(row.unit or ("share" if row.format.endswith("%") else ""))
        if row.format.endswith("%"):
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.locator_params(axis="x", nbins=5)
        plain(axes, "x")
    return drawn


def lengths(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]):
    """The share of responses that are no longer than so many tokens."""
    with Canvas(_WIDTH, max(230, 74 + 19 * len(runs))) as drawn:
        axes = drawn.add_subplot()
        for run, look in zip(runs, looks, strict=True):
            tokens = np.sort(_tokens(run))
            if not tokens.size:
                continue
            shares = np.arange(1, tokens.size + 1) / tokens.size
            kept = np.unique(np.linspace(0, tokens.size - 1, _MOST_STEPS).astype(int))
            axes.step(
                tokens[kept], shares[kept], where="post", color=look.colour,
                linestyle=look.line, linewidth=1.6, label=short(look.label),
            )  # fmt: skip
            middle = tokens.size // 2
            axes.plot(tokens[middle], 0.5, look.mark, color=look.colour, ms=5.5)
        axes.axhline(0.5, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_title("lengths of responses", loc="left")
        axes.set(xlabel="tokens, marks at the median", ylabel="share no longer")
        axes.set_ylim(0, 1.03)
        plain(axes)
    return drawn


def short(label: str, limit: int = 22) -> str:
    """A label that a figure has room for: the end of a long one tells most."""
    return label if len(label) <= limit else f"…{label[1 - limit :]}"


def _tokens(run: ReportedRun) -> np.ndarray:
    return np.array([x.tokens for x in run.evaluated.responses], np.int64)


def _percentiles(runs: Sequence[ReportedRun]) -> Table:
    rows = [
        (run.label, *np.percentile(tokens, _PERCENTILES).tolist())
        for run in runs
        if (tokens := _tokens(run)).size
    ]
    return Table(("run", *(f"p{share}_tokens" for share in _PERCENTILES)), rows)


def _said_of_lengths(table: Table) -> str:
    parts = [
        f"{label}: half have at most {half:g} tokens, 95% at most {most:g}"
        for label, _, _, half, _, most in table.rows
    ]
    return "; ".join(parts) + "."


def _inline(runs: Sequence[ReportedRun], name: str, drawn) -> Html:
    row = figure(name)
    values = ", ".join(
        f"{run.label} {format(x.value, row.format)}"
        for run in runs
        if (x := run.evaluated.figures.get(name)) is not None
    )
    return inline(drawn, name, f"{row.title} of each run", f"{row.meaning} {values}.")
