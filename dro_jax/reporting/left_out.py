"""What was cut or dropped: of the data, in training, and of the responses."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.plurals import counted
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table
from dro_jax.reporting.win_matrix import pairs_by_judge

_MOST_RECORDS = 20
_RATES = {
    "truncation_rate": "records cut to the model's lengths, training",
    "eval/truncation_rate": "records cut to the model's lengths, held out",
    "leftover_rate": "records left over for training (A-LoL)",
    "padding_fraction": "padding in training batches",
}


def section(
    runs: Sequence[ReportedRun], looks: Sequence[RunStyle], *, messages: bool
) -> Section | None:
    """The part of the page; None where nothing is known of it.

    Args:
      runs, looks: as for the summary.
      messages: whether to tell records' faults in words, which may quote them.
    """
    records, samples = [], []
    for run, look in zip(runs, looks, strict=True):
        for name, report in _records(run):
            records.append((look, name, report))
            samples += [(look.label, one) for one in report.get("dropped", ())]
    parts = [*_data(records, samples, messages), *_training(runs, looks)]
    parts += _evaluation(runs, looks)
    tables = {}
    if records:
        rows = [
            (look.label, name, report.get("split"), report.get("num_read"),
             report.get("num_kept"), reason, count)
            for look, name, report in records
            for reason, count in report.get("dropped_by_reason", {}).items()
        ]  # fmt: skip
        columns = ("run", "task", "split", "read", "kept", "reason", "dropped")
        tables["dropped_records"] = Table(columns, rows)
    if not parts:
        return None
    data = {
        look.label: {
            name: {k: x for k, x in report.items() if k != "dropped"}
            for other, name, report in records
            if other is look
        }
        for look in looks
    }
    return Section(
        "left-out", "What was cut or dropped", lines(*parts), tables, {}, data
    )


def _records(run: ReportedRun) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, facts in run.facts.get("rewards", {}).items():
        report = facts.get("records") if isinstance(facts, Mapping) else None
        if isinstance(report, Mapping):
            yield name, report


def _data(records, samples, messages: bool) -> list[Html]:
    if not records:
        return []
    rows = []
    for look, name, report in records:
        reasons = report.get("dropped_by_reason", {})
        said = ", ".join(
            f"{x:,} {reason.replace('_', ' ')}" for reason, x in reasons.items()
        )
        read, kept = report.get("num_read", 0), report.get("num_kept", 0)
        where = f"{name}, {report.get('split', '')}"
        numbers = (f"{x:,}" for x in (read, kept, read - kept))
        rows.append([look.name(), where, *numbers, said or "–"])
    columns = [Column("run"), Column("task and split", is_text=True), Column("read")]
    columns += [Column("kept"), Column("dropped"), Column("why", is_text=True)]
    parts = [table("Records of the training data", columns, rows, class_="numbers")]
    unlike: dict[tuple, list[str]] = {}
    for label, one in samples:
        said = one.get("message", "") if messages else ""
        key = (one.get("identity", ""), one.get("reason", "").replace("_", " "), said)
        unlike.setdefault(key, []).append(label)
    if unlike:
        rows = [[key[0], key[1], key[2] or "–", ", ".join(labels)]
                for key, labels in list(unlike.items())[:_MOST_RECORDS]]  # fmt: skip
        titles = ("record", "reason", "in words", "runs")
        names = [Column(x, is_text=True) for x in titles]
        inside = table("Records that were dropped", names, rows)
        count = counted(len(rows), "record")
        title = f"{count} that were dropped" if len(rows) == len(unlike) else (
            f"The first {count} that were dropped, of {len(unlike):,} that are named"
        )  # fmt: skip
        parts.append(element("details", element("summary", title), inside))
    return parts


def _training(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> list[Html]:
    names = [n for n in _RATES if any(_last(run, n) is not None for run in runs)]
    stops = any(run.not_finite for run in runs)
    ends = any("pruned" in run.facts for run in runs)
    rows = []
    for run, look in zip(runs, looks, strict=True):
        if run.metrics:
            rates = [_last(run, name) for name in names]
            cells = ["–" if rate is None else f"{rate:.1%}" for rate in rates]
            if stops:
                cells.append(", ".join(f"step {x}" for x in run.not_finite) or "none")
            if ends:
                cells.append(_early_end(run))
            rows.append([look.name(), *cells])
    if not rows or not (names or stops or ends):
        return []
    columns = [Column("run"), *(Column(_RATES[name]) for name in names)]
    if stops:
        columns.append(Column("steps that were not finite"))
    if ends:
        columns.append(Column("ended early", "by a sweep", is_text=True))
    caption = "In training, by the last line of the log that tells"
    return [table(caption, columns, rows, class_="numbers")]


def _early_end(run: ReportedRun) -> str:
    told = run.facts.get("pruned")
    if told is None:
        return "no"
    return f"after step {told.get('step')}: {told.get('reason')}"


def _evaluation(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> list[Html]:
    rows, reasons, judges = [], {}, pairs_by_judge(runs).values()
    for run, look in zip(runs, looks, strict=True):
        responses = run.evaluated.responses
        cut, empty = (
            sum(getattr(x, name) for x in responses) for name in ("cut", "empty")
        )
        silent = sum(
            found.unanswered
            for pairs in judges
            for (first, _), found in pairs.items()
            if first == run.label
        )
        counts = (
            len({x.prompt_id for x in responses}),
            len(responses),
            cut,
            empty,
            silent,
        )
        rows.append([look.name(), *(f"{count:,}" for count in counts)])
        for name, why in run.evaluated.tables.get("omitted", {}).items():
            reasons.setdefault((name, why), []).append(look.label)
    titles = ("prompts", "responses", "cut at the length limit", "empty")
    columns = [Column("run"), *(Column(x) for x in titles)]
    columns.append(Column("pairs without a verdict"))
    parts = [table("Responses", columns, rows, class_="numbers")]
    if reasons:
        names = [
            Column(x, is_text=True) for x in ("figure", "why it is missing", "runs")
        ]
        told = [[name, why, ", ".join(x)] for (name, why), x in reasons.items()]
        parts.append(table("Figures that are not there", names, told))
    return parts


def _last(run: ReportedRun, name: str) -> float | None:
    found = (line[name] for line in reversed(run.metrics) if name in line)
    return next((x for x in found if isinstance(x, int | float)), None)
