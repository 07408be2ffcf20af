"""The part of a report on advantages: each log once, and no texts where none are wanted."""

import dataclasses
import json

import evaluated_runs
import read_html

from dro_jax.evaluation.evaluated_run import EvaluatedRun
from dro_jax.reporting.advantages import section
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.style import styles

OTHER = evaluated_runs.ADVANTAGES | {
    "leftover": 10,
    "shares": [],
    "most": [],
    "least": [],
    "histogram": {"counts": [190, 10], "values": [-1.0, 1.0], "edges": None},
}


def run(label, report=None):
    facts = {} if report is None else {"advantages": report}
    return ReportedRun(EvaluatedRun(label, {}, (), {}), facts=facts)


def part(*runs, texts=True):
    return section(runs, styles(runs), texts=texts)


def test_what_is_left_over_is_told_by_source_and_once_for_equal_logs():
    same = evaluated_runs.ADVANTAGES
    found = part(run("a", same), run("b"), run("c", dict(same)), run("d", OTHER))
    assert list(found.data) == ["a", "d"]
    assert found.tables["advantages"].rows == [
        ("a", "all", "desk", 200, 60, -0.1),
        ("a", "source", "chat", 150, 57, 0.1),
        ("a", "source", "mail", 50, 3, -0.7),
        ("d", "all", "desk", 200, 10, -0.1),
    ]
    text = read_html.read(found.body).text
    for told in ("source mail", "6.0%", "38.0%", "−0.700", "The best prompt <1>"):
        assert told in text
    # One line for both runs of one log, which its legend names.
    (axes,) = found.figures["advantages"].axes
    names = [x.get_text() for x in axes.get_legend().get_texts()]
    assert names == ["a, c", "d"]
    assert part(run("b")) is None
    assert part(run("b", {"of": "another version"})) is None


def test_without_texts_records_are_not_named():
    found = part(run("a", evaluated_runs.ADVANTAGES), texts=False)
    told = json.dumps([found.body, found.data, dataclasses.asdict(found)["tables"]])
    assert "source mail" in found.body
    for secret in ("The best", "The worst", "log.jsonl"):
        assert secret not in told
    assert list(found.tables) == ["advantages"]
