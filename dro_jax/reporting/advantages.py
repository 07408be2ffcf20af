"""What A-LoL had left over of its data: advantages r − V_ref, by source and by record."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.reporting.drawing import SOFT, Canvas, inline, plain
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.spread import short
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table

_NAME = "advantages"
_SIZE = (460, 300)
_TEXT = (
    "The advantage of a logged response is its reward less V_ref of its prompt, what the "
    "reference earns there. A-LoL trains on what is left over, the records of an "
    "advantage above 0, right of the dashed line. Runs of one reference and one log have "
    "the same advantages and are shown once."
)
_KEYS = ("identity", "task", "advantage", "reward", "value")

Report = Mapping[str, Any]


def section(
    runs: Sequence[ReportedRun], looks: Sequence[RunStyle], *, texts: bool
) -> Section | None:
    """The part of the page; None where no run computed advantages.

    Args:
      runs, looks: as for the summary.
      texts: whether to show prompts and responses, and to name records.
    """
    found = list(_unlike(runs, looks))
    if not found:
        return None
    drawn = draw(found)
    title = "Share of the records by their advantage"
    said = "; ".join(f"{look.label}: {_told(report)}" for look, _, report in found)
    shown = inline(drawn, _NAME, title, f"{said}.")
    parts = [
        element("p", _TEXT),
        element("div", shown, class_="figures"),
        _shares(found),
    ]
    columns, rows = ["run", "end", *_KEYS], []
    if texts:
        columns += ["prompt", "response"]
        parts += [_records(look, report) for look, _, report in found]
        rows = [
            (look.label, end, *(record.get(key) for key in columns[2:]))
            for look, _, report in found
            for end in ("most", "least")
            for record in report.get(end, ())
        ]
    shares = [
        (look.label, *(share[key] for key in ("kind", "name", "records", "leftover", "mean")))
        for look, _, report in found
        for share in _all_shares(report)
    ]  # fmt: skip
    names = ("run", "kind", "name", "records", "leftover", "mean_advantage")
    tables = {"advantages": Table(names, shares)}
    if rows:
        tables["advantage_records"] = Table(columns, rows)
    data = {
        look.label: {
            key: value
            for key, value in report.items()
            if texts or key not in ("most", "least")
        }
        for look, _, report in found
    }
    body = lines(*parts)
    return Section(_NAME, "What is left over", body, tables, {_NAME: drawn}, data)


def draw(found: Sequence[tuple[RunStyle, Sequence[str], Report]]):
    """A line over the bins of each, or bars where there are few values."""
    with Canvas(*_SIZE) as drawn:
        axes = drawn.add_subplot()
        for look, labels, report in found:
            histogram = report["histogram"]
            counts = np.array(histogram["counts"], float)
            label = short(", ".join(labels))
            style = {"color": look.colour, "label": label}
            if histogram["edges"] is not None:
                edges = histogram["edges"]
                axes.stairs(counts / counts.sum(), edges, linestyle=look.line, **style)
            else:
                values = histogram["values"]
                axes.vlines(
                    values, 0, counts / counts.sum(), linestyle=look.line, **style
                )
        axes.axvline(0, color=SOFT, linewidth=1, linestyle="--", zorder=1)
        axes.legend(frameon=False, loc="upper right")
        axes.set_ylim(bottom=0)
        axes.set(xlabel="advantage r − V_ref", ylabel="share of the records")
        plain(axes)
    return drawn


def _unlike(
    runs: Sequence[ReportedRun], looks: Sequence[RunStyle]
) -> Iterator[tuple[RunStyle, list[str], Report]]:
    """Reports that differ, each with the look of its first run and all runs' labels."""
    found: dict[str, tuple[RunStyle, list[str], Report]] = {}
    for run, look in zip(runs, looks, strict=True):
        report = run.facts.get(_NAME)
        if isinstance(report, Mapping) and _is_whole(report):
            key = json.dumps(report, sort_keys=True)
            found.setdefault(key, (look, [], report))[1].append(run.label)
    return iter(found.values())


def _is_whole(report: Report) -> bool:
    return all(key in report for key in ("histogram", "advantages", "leftover", "name"))


def _all_shares(report: Report) -> Iterator[Mapping[str, Any]]:
    figures = report["advantages"]
    yield {
        "kind": "all",
        "name": report["name"],
        "records": figures["count"],
        "leftover": report["leftover"],
        "mean": figures["mean"],
    }
    yield from report.get("shares", ())


def _told(report: Report) -> str:
    return ", ".join(
        f"{share['leftover'] / share['records']:.1%} left over of {share['name']}"
        for share in _all_shares(report)
    )


def _shares(found: Sequence[tuple[RunStyle, Sequence[str], Report]]) -> Html:
    rows = [
        [
            look.name(),
            ", ".join(labels[1:]) or "–",
            share["name"] if share["kind"] == "all" else f"{share['kind']} {share['name']}",
            f"{share['records']:,}",
            f"{share['leftover']:,}",
            f"{share['leftover'] / share['records']:.1%}",
            _number(share["mean"]),
        ]
        for look, labels, report in found
        for share in _all_shares(report)
    ]  # fmt: skip
    columns = [Column("run"), Column("and", is_text=True), Column("of", is_text=True)]
    columns += [Column("records"), Column("left over"), Column("share")]
    columns.append(Column("mean advantage"))
    return table("What is left over, by source", columns, rows, class_="numbers")


def _records(look: RunStyle, report: Report) -> Html:
    titles = ("record", "advantage", "reward", "V_ref", "prompt", "response")
    columns = [Column(x, is_text=x in ("prompt", "response")) for x in titles]
    tables = [
        table(
            caption,
            columns,
            [
                [
                    record.get("identity", ""),
                    *(_number(record.get(x)) for x in ("advantage", "reward", "value")),
                    *(record.get(x, "") for x in ("prompt", "response")),
                ]
                for record in records
            ],
        )
        for caption, end in (("The most advantage", "most"), ("The least", "least"))
        if (records := report.get(end))
    ]
    if not tables:
        return Html()
    title = f"Records of the most and of the least advantage: {look.label}"
    return element("details", element("summary", title), *tables)


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
