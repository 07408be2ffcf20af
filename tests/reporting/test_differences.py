"""Paired differences in reward, as a report tells of them."""

import dataclasses

import evaluated_runs
import pytest
import read_html

from dro_jax.evaluation.reward_difference import holm, reward_difference
from dro_jax.reporting import differences, summary
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.style import styles


def rows_of(labels, reference=None):
    found = []
    for label in labels:
        own = evaluated_runs.evaluated(label)
        settings = {**own.settings, "reference": reference and {"label": reference}}
        found.append(ReportedRun(dataclasses.replace(own, settings=settings)))
    return found


def test_each_run_is_set_against_the_reference():
    rows = rows_of(("nll", "reference", "kto"), "reference")
    found = differences.found(rows)
    assert [(x.first, x.second, x.reward) for x in found] == [
        (label, "reference", reward)
        for reward in ("helpful", "short")
        for label in ("nll", "kto")
    ]
    evaluated = [row.evaluated for row in rows]
    assert found[1] == reward_difference(evaluated[2], evaluated[1], "helpful")


def test_without_a_reference_among_the_rows_it_is_the_first():
    found = differences.found(rows_of(("nll", "kto"), "elsewhere"))
    assert {(x.first, x.second) for x in found} == {("kto", "nll")}


def test_a_row_without_the_reward_is_left_out():
    rows = rows_of(("reference", "nll", "kto"), "reference")
    bare = tuple(
        dataclasses.replace(x, rewards={}) for x in rows[1].evaluated.responses
    )
    evaluated = dataclasses.replace(rows[1].evaluated, responses=bare)
    rows[1] = dataclasses.replace(rows[1], evaluated=evaluated)
    assert {x.first for x in differences.found(rows)} == {"kto"}
    assert differences.found(rows[:2]) == []


def test_the_page_tells_difference_interval_and_both_ps():
    rows = rows_of(("reference", "nll", "kto"), "reference")
    part = summary.section(rows, styles(rows))
    found = differences.found(rows)
    adjusted = holm([x.p_value for x in found])
    (table,) = [
        x
        for x in read_html.read(part.body).all("table")
        if x.all("caption")[0].text.startswith("Differences in reward")
    ]
    cells = [[x.text for x in row.all("td")] for row in table.all("tbody")[0].all("tr")]
    assert [row[-2:] for row in cells] == [
        [f"{x.p_value:.4f}", f"{p:.4f}"] for x, p in zip(found, adjusted, strict=True)
    ]
    assert f"{found[1].difference.value:+.3f}".replace("-", "−") in cells[1][1]
    written = part.tables["reward_differences"]
    assert len(written.columns) == len(written.rows[0])
    assert written.rows[0][:4] == (
        "nll", "reference", "helpful", found[0].difference.value
    )  # fmt: skip
    assert [x["p_holm"] for x in part.others["reward-differences"]] == adjusted


def test_holms_ps_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1, never falling.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02, None]) == [0.02, None]
    assert holm([]) == []
