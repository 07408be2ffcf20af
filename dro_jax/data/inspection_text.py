"""A task report for the terminal, plain aligned text."""

import textwrap

import numpy as np

from dro_jax.data.task_report import OTHER, Lengths, TaskReport
from dro_jax.plurals import counted

_WIDTH = 88
_BAR_WIDTH = 50
_BARS_SHOWN = 15
_DROPPED_SHOWN = 20
_TEXT_SHOWN = 600


def report_text(report: TaskReport) -> str:
    """The whole report."""
    kept = counted(report.records.num_kept, "record")
    head = f"{report.name} [{report.split}]: {kept}"
    sections = [
        f"{head}, vocabulary {report.vocabulary}",
        *_examples(report),
        _lengths(report),
        _fidelity(report),
        _rewards(report),
        _records(report),
    ]
    return "\n\n".join(sections) + "\n"


def _examples(report: TaskReport) -> list[str]:
    return [
        f"{example.identity}\n"
        f"  reward {example.reward:+.4g} (recorded {example.recorded_reward:g})\n"
        + _quoted(f"prompt ({example.prompt_tokens} tokens)", example.prompt)
        + "\n"
        + _quoted(f"response ({example.response_tokens} tokens)", example.response)
        for example in report.examples
    ]


def _quoted(label: str, text: str) -> str:
    if len(text) > _TEXT_SHOWN:
        half = _TEXT_SHOWN // 2
        text = f"{text[:half]} […] {text[-half:]}"
    lines = [
        piece
        for line in text.splitlines()
        for piece in textwrap.wrap(line, _WIDTH - 4) or [""]
    ]
    return "\n".join([f"  {label}:", *(f"    {line}".rstrip() for line in lines)])


def _lengths(report: TaskReport) -> str:
    percents = [f"p{percent}" for percent, _ in report.prompt.percentiles]
    rows = [
        ["tokens", *percents, "max", "limit", "cut", "padding"],
        _length_row("prompt", report.prompt),
        _length_row("response", report.response),
    ]
    lines = [
        row[0].ljust(10) + "".join(cell.rjust(9) for cell in row[1:]) for row in rows
    ]
    padding = f"padding of both together: {report.padding_share:.1%}"
    if report.packed_padding_share is not None:
        padding += f", packed {report.packed_padding_share:.1%}"
    return "\n".join([*lines, padding])


def _length_row(name: str, lengths: Lengths) -> list[str]:
    return [
        name,
        *(f"{tokens:.0f}" for _, tokens in lengths.percentiles),
        str(lengths.max),
        str(lengths.limit),
        f"{lengths.truncated_share:.1%}",
        f"{lengths.padding_share:.1%}",
    ]


def _fidelity(report: TaskReport) -> str:
    sides = (("prompt", report.prompt_fidelity), ("response", report.response_fidelity))
    lines = []
    if not any(side.num_changed for _, side in sides):
        lines.append("all texts come back equal from their tokens")
    for name, side in sides:
        if side.num_changed:
            kinds = ", ".join(f"{kind} in {n:,}" for kind, n in side.lost.items())
            counts = f"{side.num_changed:,} of {side.num_texts:,} (lost: {kinds})"
            lines += [
                f"{name}s that do not come back equal from their tokens: {counts}",
                f"  {side.example.identity}",
                f"    {side.example.text!r}",
                f"    is read as {side.example.read!r}",
            ]
    if any(kind != OTHER for _, side in sides for kind in side.lost):
        lines.append("  white space is kept by KEEP_WHITESPACE = True (docs/tasks.md)")
    lines.append(
        "unknown pieces: "
        + ", ".join(
            f"{side.num_unknown:,} in {side.num_with_unknown:,} {name}s"
            for name, side in sides
        )
    )
    return "\n".join(lines)


def _rewards(report: TaskReport) -> str:
    statistics = report.rewards
    lines = ["rewards".ljust(14) + "mean      std      min   median      max"]
    for name, summary in (
        ("recorded", statistics.recorded),
        ("transformed", statistics.transformed),
    ):
        median = dict(summary.quantiles)[0.5]
        figures = (summary.mean, summary.std, summary.min, median, summary.max)
        lines.append(name.ljust(12) + " ".join(f"{value:8.3f}" for value in figures))
    lines.append(f"transform: {statistics.transform}")
    return "\n".join([*lines, *_histogram(report)])


def _histogram(report: TaskReport) -> list[str]:
    labels, counts = report.histogram.values, np.array(report.histogram.counts)
    if labels is None:
        step = -(-len(counts) // _BARS_SHOWN)
        counts = np.add.reduceat(counts, np.arange(0, len(counts), step))
        labels = report.histogram.edges[:-1:step]
    longest = int(counts.max())
    return [
        f"  {label:9.3f} {'█' * round(_BAR_WIDTH * count / longest):<{_BAR_WIDTH}} "
        f"{count:,}"
        for label, count in zip(labels, counts, strict=True)
    ]


def _records(report: TaskReport) -> str:
    records = report.records
    lines = [f"records: {records.num_read:,} read, {len(records.dropped):,} dropped"]
    lines += [f"  {reason}: {count:,}" for reason, count in records.reasons().items()]
    lines += [
        f"    {record.identity}: {record.message}"
        for record in records.dropped[:_DROPPED_SHOWN]
    ]
    more = len(records.dropped) - _DROPPED_SHOWN
    return "\n".join([*lines, f"    and {more:,} more"] if more > 0 else lines)
