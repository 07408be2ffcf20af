"""What became of each trial: failed, pruned, waiting; and what was given in vain."""

import re
from typing import Any

from dro_jax.evaluation.figures import shown
from dro_jax.plurals import counted
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.places import Places
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.sweep_results import STATES, SweepResults
from dro_jax.reporting.swept.figures import all_runs
from dro_jax.reporting.swept.reading import SweptRuns, compared_value
from dro_jax.reporting.tables import Column, table

_MOST_REASON = 400
_WORD = re.compile(r"(?<![\w\\])(['\"])[^\s'\"\\]*\1(?!\w)")
_OPENING = re.compile(r"(?<![\w\\])['\"]")
_CLOSING = re.compile(r"['\"](?!\w)")


def section(runs: SweptRuns, places: Places, *, messages: bool) -> Section:
    """The part of the page.

    Args:
      runs: of a sweep.
      places: shorten paths in reasons.
      messages: whether reasons may quote at length, as an error quotes a record.
    """
    results = runs.results
    said = {
        trial.number: _reason(trial.reason, places, messages)
        for trial in results.trials
    }
    parts: list[Html | None] = [_counts(results)]
    if waiting := is_unfinished(results):
        parts.insert(0, element("p", waiting, class_="lead"))
    for state, title in (("failed", "Failed"), ("pruned", "Pruned: ended early")):
        own = [trial for trial in results.trials if trial.state == state]
        if own:
            rows = [
                [trial.label, trial.stage, trial.tries, said[trial.number] or "–"]
                for trial in own
            ]
            columns = [Column("trial"), Column("stage", is_text=True), Column("tries")]
            columns.append(Column("why", is_text=True))
            parts.append(table(title, columns, rows, class_="numbers"))
    if runs.left_out:
        rows = [[trial.label, why] for trial, why in runs.left_out]
        columns = [Column("trial"), Column("why", is_text=True)]
        parts.append(table("Complete, and not compared", columns, rows))
    parts += [_unused(results), _every_run(runs, said)]
    columns = ("number", "stage", "label", "state", "reason", "folder", "seconds",
               "steps", "tokens", "tries", "unused")  # fmt: skip
    rows = [
        (x.number, x.stage, x.label, x.state, said[x.number], x.folder, x.seconds,
         x.steps, x.tokens, x.tries, " ".join(x.unused))
        for x in results.trials
    ]  # fmt: skip
    data = [
        {"number": x.number, "stage": x.stage, "label": x.label, "state": x.state,
         "reason": said[x.number], "values": dict(x.values), "unused": list(x.unused)}
        for x in results.trials
    ]  # fmt: skip
    tables = {"trials": Table(columns, rows)}
    return Section("trials", "Trials", lines(*parts), tables, {}, data)


def is_unfinished(results: SweepResults) -> str:
    """Says what is still to come; empty where nothing is."""
    counts = {
        state: sum(trial.state == state for trial in results.trials) for state in STATES
    }
    if not counts["waiting"] and not counts["running"]:
        return ""
    return (
        f"This sweep is not finished: of {counted(len(results.trials), 'trial')} "
        f"{counts['waiting']} wait and {counts['running']} run. What stands here may "
        "change with them."
    )


def _reason(reason: str | None, places: Places, messages: bool) -> str | None:
    """Short, without folders of this machine, and without long quotes where asked so."""
    if reason is None:
        return None
    text = places.shortened(" ".join(reason.split()))
    if not messages:
        text = _without_quote(text)
    return text if len(text) <= _MOST_REASON else f"{text[: _MOST_REASON - 1]}…"


def _without_quote(text: str) -> str:
    """Without what may be a record's text: from the first quotation to the last.

    A quoted text has quotes and apostrophes of its own, so that where it ends cannot be
    told from inside; one without an end was cut. Single words are names of settings.
    """
    names = [match.span() for match in _WORD.finditer(text)]

    def quotes(pattern: re.Pattern) -> list[int]:
        found = (match.start() for match in pattern.finditer(text))
        return [n for n in found if not any(x <= n < end for x, end in names)]

    opening = quotes(_OPENING)
    if not opening:
        return text
    closing = [n for n in quotes(_CLOSING) if n > opening[0]]
    rest = text[closing[-1] + 1 :] if closing else ""
    return f"{text[: opening[0]]}“…”{rest}"


def _counts(results: SweepResults) -> Html:
    rows = []
    for stage in results.stages:
        own = [trial for trial in results.trials if trial.stage == stage]
        numbers = [sum(trial.state == state for trial in own) for state in STATES]
        rows.append([stage, len(own), *numbers])
    columns = [Column("stage"), Column("trials"), *map(Column, STATES)]
    return table("Trials by stage", columns, rows, class_="numbers")


def _unused(results: SweepResults) -> Html | None:
    """Settings by what ignores them."""
    found: dict[str, dict[str, None]] = {}
    for trial in results.trials:
        last = trial.stage == results.stages[-1]
        name = compared_value(results, trial) if last else trial.stage
        for setting in trial.unused:
            found.setdefault(setting, {})[name] = None
    if not found:
        return None
    rows = [[element("code", name), ", ".join(own)] for name, own in found.items()]
    columns = [Column("setting"), Column("had no effect on", is_text=True)]
    return table("Settings that some trials do not read", columns, rows)


def _every_run(runs: SweptRuns, said: dict[int, str | None]) -> Html:
    """All trials that are compared, closed at first."""
    evaluated = {run.trial.number: run.evaluated for run in all_runs(runs.cells)}
    rows: list[list[Any]] = []
    for trial in runs.compared_trials:
        own = evaluated.get(trial.number)
        figures = own.figures if own else {}
        cells = [
            shown(x, figures[x]) if x in figures else "–" for x in ("reward", "kl")
        ]
        rows.append([trial.label, trial.state, *cells, element("code", trial.folder)])
    columns = [Column("trial"), Column("state", is_text=True)]
    columns += [Column("reward", "all prompts"), Column("KL", "nats")]
    columns.append(Column("folder", is_text=True))
    inside = table("Every trial that is compared", columns, rows, class_="numbers")
    note = element(
        "p",
        element("code", "dro-jax report FOLDER…"),
        " shows some of these runs themselves, with their curves, settings and samples.",
        class_="note",
    )
    title = f"Every trial, {len(rows):,}"
    return element("details", element("summary", title), lines(note, inside))
