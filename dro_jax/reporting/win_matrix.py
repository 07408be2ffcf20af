"""Win rates of each run against each other, by each judge."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.evaluation.evaluated_run import Estimate, WinRate
from dro_jax.evaluation.strengths import bradley_terry
from dro_jax.reporting.drawing import FAINT, INK, Canvas
from dro_jax.reporting.html import Html, element, file_name, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table

_TEXT = (
    "How often the judge prefers the run of a row to that of a column, a tie counting "
    "half; in brackets 95% intervals over prompts. Where an interval leaves 50% out, the "
    "cell is shaded: ▲ the row's run is better, ▼ the column's. Each interval is of its "
    "pair alone: of runs that are alike, one pair in 20 is shaded by chance."
)
_STRENGTH = (
    "Strength explains all win rates by one number a run (Bradley and Terry), with mean "
    "0: a run stronger by 1 wins 73% of prompts, by 2 88%."
)
_CONTROLLED = (
    "What the rate would be if both gave responses of the same length "
    "(AlpacaEval 2's regression, without its instruction difficulty)."
)

_MOST_COLUMNS = 12  # of a page; a sweep of many runs would fill it

Pairs = Mapping[tuple[str, str], WinRate]


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section | None:
    """The part of the page; None where no judge was asked.

    Args:
      runs, looks: as for the summary.
    """
    judges = pairs_by_judge(runs)
    if not judges:
        return None
    parts, figures, rows, strengths = [element("p", _TEXT)], {}, [], {}
    for judge, pairs in judges.items():
        among = [look for look in looks if any(look.label in pair for pair in pairs)]
        parts.append(element("h3", "By ", element("span", judge, class_="name")))
        if own := strengths_of(among, pairs):
            strengths[judge] = own
            parts.append(element("p", _STRENGTH))
        caption = f"Win rates by {judge}"
        parts.append(_matrix(caption, among, pairs, strengths=own))
        file = file_name(f"win rates {judge}", figures)
        figures[file] = draw(among, pairs, judge)
        if any(found.length_controlled for found in pairs.values()):
            caption = f"Length-controlled win rates by {judge}"
            parts.append(element("p", _CONTROLLED))
            parts.append(_matrix(caption, among, pairs, is_controlled=True))
        parts.append(_counts(judge, pairs, looks))
        rows += [_row(found) for found in pairs.values()]
    ends = ("win_rate", "low", "high")
    columns = (
        "first",
        "second",
        "judge",
        *ends,
        "wins",
        "ties",
        "losses",
        "unanswered",
    )
    columns += tuple(f"length_controlled_{end}" for end in ends)
    data = [x.told() for pairs in judges.values() for x in pairs.values()]
    tables = {"win_rates": Table(columns, rows)}
    if strengths:
        ranked = [(j, x, s) for j, own in strengths.items() for x, s in own.items()]
        tables["strengths"] = Table(("judge", "run", "strength"), ranked)
    others = {"strengths": strengths} if strengths else {}
    return Section(
        "win-rates", "Win rates", lines(*parts), tables, figures, data, others
    )


def strengths_of(looks: Sequence[RunStyle], pairs: Pairs) -> dict[str, float]:
    """Bradley-Terry strengths of three runs or more that were all compared; else none."""
    labels = [look.label for look in looks]
    once = [pairs.get(pair) for pair in itertools.combinations(labels, 2)]
    return bradley_terry(labels, once) if len(labels) > 2 and all(once) else {}


def pairs_by_judge(runs: Sequence[ReportedRun]) -> dict[str, Pairs]:
    """Win rates by judge and pair of the runs, each pair both ways."""
    labels = {run.label for run in runs}
    found: dict[str, dict[tuple[str, str], WinRate]] = {}
    for run in runs:
        for one in run.win_rates:
            if {one.first, one.second} <= labels:
                found.setdefault(one.judge, {})[one.first, one.second] = one
    for pairs in found.values():
        for (first, second), one in list(pairs.items()):
            pairs.setdefault((second, first), _turned(one))
    order = [run.label for run in runs]
    return {
        judge: dict(sorted(pairs.items(), key=lambda x: tuple(map(order.index, x[0]))))
        for judge, pairs in sorted(found.items())
    }


def _turned(found: WinRate) -> WinRate:
    """The same from the other's side."""
    controlled = found.length_controlled
    return WinRate(
        first=found.second,
        second=found.first,
        judge=found.judge,
        win_rate=_complement(found.win_rate),
        wins=found.losses,
        ties=found.ties,
        losses=found.wins,
        unanswered=found.unanswered,
        length_controlled=controlled and _complement(controlled),
    )


def _complement(x: Estimate) -> Estimate:
    low = None if x.high is None else 1 - x.high
    high = None if x.low is None else 1 - x.low
    return Estimate(1 - x.value, low, high, x.standard_error)


def _matrix(
    caption: str,
    looks: Sequence[RunStyle],
    pairs: Pairs,
    *,
    is_controlled: bool = False,
    strengths: Mapping[str, float] | None = None,
) -> Html:
    against, rows = looks[:_MOST_COLUMNS], []
    if len(against) < len(looks):
        caption = f"{caption}, against the first {_MOST_COLUMNS} (all: win_rates.csv)"
    for look in looks:
        found = (pairs.get((look.label, x.label)) for x in against)
        cells = [_cell(one, is_controlled) for one in found]
        if look in against:
            cells[against.index(look)] = element("td", class_="itself")
        if strengths:
            cells.append(f"{strengths[look.label]:+.2f}".replace("-", "\N{MINUS SIGN}"))
        rows.append([look.name(), *cells])
    columns = [Column("this run …", "… against"), *(Column(x.name()) for x in against)]
    if strengths:
        columns.append(Column("strength", "log-odds"))
    return table(caption, columns, rows, class_="numbers matrix")


def _cell(found: WinRate | None, is_controlled: bool) -> Html:
    rate = found and (found.length_controlled if is_controlled else found.win_rate)
    if rate is None:
        return element(
            "td", element("span", "–", aria_label="not judged"), class_="none"
        )
    side, sign = None, None
    if rate.low is not None and rate.high is not None:
        if rate.low > 0.5:
            side, sign = (
                "wins",
                element("span", "▲", class_="mark", aria_label="better"),
            )
        elif rate.high < 0.5:
            side, sign = (
                "loses",
                element("span", "▼", class_="mark", aria_label="worse"),
            )
    interval = None
    if rate.low is not None and rate.high is not None:
        interval = element(
            "span", f"[{max(rate.low, 0):.0%} to {rate.high:.0%}]", class_="interval"
        )
    return element("td", sign, f"{rate.value:.1%}", interval, class_=side)


def _counts(judge: str, pairs: Pairs, looks: Sequence[RunStyle]) -> Html:
    names = {look.label: look.name() for look in looks}
    order = list(names)
    rows = [
        [
            Html(f"{names[x.first]} against {names[x.second]}"),
            x.wins,
            x.ties,
            x.losses,
            x.unanswered,
        ]
        for x in pairs.values()
        if order.index(x.first) < order.index(x.second)
        and order.index(x.first) < _MOST_COLUMNS
    ]
    titles = ("pair", "wins", "ties", "losses", "not answered")
    caption = f"Verdicts of {judge}, counted"
    inside = table(caption, [Column(x) for x in titles], rows, class_="numbers")
    return element("details", element("summary", "Wins, ties and losses"), inside)


def draw(looks: Sequence[RunStyle], pairs: Pairs, judge: str):
    """The matrix as a picture, for a file."""
    size = len(looks)
    with Canvas(170 + 78 * size, 120 + 40 * size) as drawn:
        axes = drawn.add_subplot()
        rates = np.full((size, size), np.nan)
        for i, row in enumerate(looks):
            for j, column in enumerate(looks):
                if found := pairs.get((row.label, column.label)):
                    rates[i, j] = found.win_rate.value
                    low, high = found.win_rate.low, found.win_rate.high
                    shown = f"{found.win_rate.value:.1%}"
                    if low is not None and high is not None:
                        shown += f"\n{low:.0%} to {high:.0%}"
                    axes.text(j, i, shown, ha="center", va="center", color=INK, size=8)
        axes.imshow(rates, cmap="PuOr", vmin=-0.4, vmax=1.4, alpha=0.6, aspect="auto")
        names = [short(look.label, 16) for look in looks]
        axes.set_xticks(range(size), names, rotation=30, ha="right")
        axes.set_yticks(range(size), names)
        axes.set_title(
            f"win rate of the row against the column, by {judge}", loc="left"
        )
        axes.spines[:].set_color(FAINT)
    return drawn


def _row(found: WinRate) -> tuple:
    ends = (found.win_rate.value, found.win_rate.low, found.win_rate.high)
    counts = (found.wins, found.ties, found.losses, found.unanswered)
    other = found.length_controlled or Estimate(None)
    return (
        *(found.first, found.second, found.judge, *ends, *counts),
        *(other.value, other.low, other.high),
    )
