"""What the parts of a report work out, by hand."""

import dataclasses
import json
import math

import evaluated_runs
import pytest
import read_html

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, WinRate
from dro_jax.evaluation.strengths import bradley_terry
from dro_jax.reporting import curves, paths, samples, summary
from dro_jax.reporting.cost import cost_of
from dro_jax.reporting.frontier import Point, frontier
from dro_jax.reporting.frontier import section as against_kl
from dro_jax.reporting.html import Html, element
from dro_jax.reporting.left_out import section as left_out
from dro_jax.reporting.places import Places
from dro_jax.reporting.reported_run import ReportedRun, read_lines
from dro_jax.reporting.settings import section as settings
from dro_jax.reporting.style import styles
from dro_jax.reporting.win_matrix import pairs_by_judge
from dro_jax.reporting.win_matrix import section as win_rates


def run(label, win_rates=(), is_policy=True, **figures):
    evaluated = EvaluatedRun(label, {}, (), figures)
    return ReportedRun(evaluated, win_rates, is_policy)


@pytest.mark.parametrize(
    ("name", "values", "marked"),
    [
        ("reward", [(0.5, 0.4, 0.6), (0.8, 0.7, 0.9)], {"b": "best"}),
        ("reward", [(0.5, 0.4, 0.75), (0.8, 0.7, 0.9)], {"a": "level", "b": "level"}),
        ("self_bleu", [(0.5, 0.4, 0.6), (0.8, 0.7, 0.9)], {"a": "best"}),
        ("kl", [(0.5, 0.4, 0.6), (0.8, 0.7, 0.9)], {}),  # neither is better
        ("reward", [(0.5, None, None), (0.8, 0.7, 0.9)], {}),
        ("empty", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)], {}),
    ],
)
def test_the_best_is_marked_where_intervals_allow(name, values, marked):
    rows = [run("ab"[n], **{name: Estimate(*x)}) for n, x in enumerate(values)]
    bound = run("bound", is_policy=False, **{name: Estimate(9.0, 9.0, 9.0)})
    assert summary.marks([*rows, bound], name) == marked


def test_the_frontier_has_what_none_outdoes():
    kls_and_rewards = [(0, 0.1), (1, 0.5), (2, 0.4), (3, 0.9), (1, 0.6), (4, 0.9)]
    points = [Point(None, Estimate(kl), Estimate(r)) for kl, r in kls_and_rewards]
    found = [(p.kl.value, p.reward.value) for p in frontier(points)]
    assert found == [(0, 0.1), (1, 0.6), (3, 0.9)]


def test_a_pair_is_told_from_both_sides():
    one = WinRate("a", "b", "j", Estimate(0.7, 0.6, 0.85), wins=6, ties=2, losses=2)
    other = WinRate("a", "elsewhere", "j", Estimate(0.1), wins=0, ties=0, losses=1)
    pairs = pairs_by_judge([run("b"), run("a", (one, other))])["j"]
    assert list(pairs) == [("b", "a"), ("a", "b")]
    turned = pairs["b", "a"]
    assert (turned.wins, turned.ties, turned.losses) == (2, 2, 6)
    ends = (turned.win_rate.value, turned.win_rate.low, turned.win_rate.high)
    assert ends == pytest.approx((0.3, 0.15, 0.4))


def test_cost_is_that_of_the_log():
    lines = [
        {"step": 10, "steps_per_second": 2.0, "num_tokens": 300.0, "mfu": 0.2},
        {"step": 15},  # a line of an evaluation alone
        {"step": 40, "steps_per_second": 1.0, "num_tokens": 900.0, "mfu": 0.4},
    ]
    cost = cost_of(dataclasses.replace(run("a"), metrics=lines))
    assert (cost.steps, cost.hours * 3600, cost.tokens) == (40, 35.0, 1200.0)
    assert cost.mfu == pytest.approx((5 * 0.2 + 30 * 0.4) / 35)
    assert cost_of(run("b")) is None


def test_curves_leave_out_what_is_no_number():
    lines = [{"step": 1, "loss": 2.0, "kl": None}, {"step": 2, "loss": 1.0, "kl": 0.5}]
    found = curves.curves_of(dataclasses.replace(run("a"), metrics=lines))
    assert found["loss"].values.tolist() == [2, 1]
    assert found["kl"].steps.tolist() == [2]


def evaluations(*points):
    names = ("step", "eval/sampled/reward", "eval/sampled/kl", "samples/total")
    rates = {"steps_per_second": 2.0}
    return [dict(zip(names, point, strict=False)) | rates for point in points]


def test_ways_are_against_kl_samples_and_seconds_and_their_mean_is_of_shared_steps():
    first = [
        {"step": 4, "loss": 1.0},
        *evaluations((10, 0.4, 1.0, 64), (20, 0.8, 3.0, 96)),
    ]
    other = evaluations((10, 0.6, 2.0, 64), (20, 0.6, 5.0, 96), (30, 0.9, 9.0, 128))
    assert paths.points_of(first) == [
        {"step": 10, "reward": 0.4, "kl": 1.0, "samples": 64, "seconds": 5.0},
        {"step": 20, "reward": 0.8, "kl": 3.0, "samples": 96, "seconds": 10.0},
    ]
    look, offline = styles([run("a"), run("b")])
    way = paths.Way(look, [paths.points_of(first), paths.points_of(other)])
    assert [(p["step"], p["reward"], p["kl"]) for p in way.mean()] == [
        (10, pytest.approx(0.5), 1.5),
        (20, pytest.approx(0.7), 4.0),
    ]
    without = [(offline, [evaluations((10, 0.5, 1.0), (20, 0.7, math.nan))])]
    part = paths.of_seeds([(look, [first, other]), *without])
    assert list(part.figures) == [
        "training_reward_against_kl",
        "training_reward_against_samples_used",
        "training_reward_against_time",
    ]
    rows = part.tables["while_training"].rows
    assert rows[0] == ("a", 0, 10, 0.4, 1.0, 64, 5.0)
    assert rows[-1] == ("b", 0, 20, 0.7, None, None, 10.0)
    # Nothing was sampled to train on: a level, not a curve.
    level = part.figures["training_reward_against_samples_used"].axes[0].lines[-1]
    assert list(level.get_ydata()) == [0.7, 0.7] and level.get_linestyle() == ":"
    assert paths.section([run("a")], styles([run("a")])) is None


def test_paths_of_the_machine_are_shortened():
    places = Places("/home/me/runs")
    for given, shown in {
        "MODEL_DIR = '/home/me/runs/kto'": "MODEL_DIR = 'kto'",
        "'/data/my logs/hha/train.jsonl'": "'…/hha/train.jsonl'",
        "/data/hha/train.jsonl line 7 (id 3)": "…/hha/train.jsonl line 7 (id 3)",
        "gs://bucket/a/b": "gs://bucket/a/b",
        "a/b, 1/2 and '{prompt}/x'": "a/b, 1/2 and '{prompt}/x'",
        "~/data/x.jsonl": "…/data/x.jsonl",
        "see file:///home/me/runs/a/b": "see a/b",
    }.items():
        assert places.shortened(given) == shown
    assert places.shortened({"k": ["/home/me/runs/a", 3]}) == {"k": ["a", 3]}


def test_texts_are_escaped_wherever_they_stand():
    shown = element("p", "<b>", Html("<i></i>"), ["&", None], title='"x"', hidden=True)
    assert shown == '<p title="&quot;x&quot;" hidden>&lt;b&gt;<i></i>&amp;</p>'


def test_samples_are_spread_and_counted():
    assert samples.spread_evenly(list("abcdefghi"), 3) == ["a", "e", "i"]
    rows = [ReportedRun(evaluated_runs.evaluated("nll", num_samples=2))]
    part = samples.section(rows, styles(rows), limit=5)
    page = read_html.read(part.body)
    assert len(page.all("article")) == len(part.data) == 5
    assert "5 prompts of 12" in page.text and "Of 2 responses" in page.text
    few = samples.section(rows, styles(rows), limit=12, most_bytes=3000)
    count = len(read_html.read(few.body).all("article"))
    assert 0 < count < 12 and f"{count} prompts of 12" in read_html.read(few.body).text
    assert len(few.tables["samples"].rows) == count
    whole = samples.section(rows, styles(rows), limit=12)
    order = [one["prompt_id"] for one in whole.data]
    assert [few.data[n]["prompt_id"] for n in (0, -1)] == [order[0], order[-1]]
    none = samples.section(rows, styles(rows), limit=12, most_bytes=0)
    assert none.data == [] and "0 prompts of 12" in none.body


def test_what_was_dropped_is_counted(tmp_path):
    evaluated_runs.write_run(tmp_path / "a")
    own = ReportedRun.of_folder(tmp_path / "a", evaluated_runs.evaluated("a"))
    part = left_out([own], styles([own]), messages=True)
    text = read_html.read(part.body).text
    assert "2 empty response" in text and "the response is empty" in text
    assert "25.0%" in text  # truncated
    assert part.tables["dropped_records"].rows == [
        ("a", "desk", "train", 200, 198, "empty_response", 2)
    ]
    silent = left_out([own], styles([own]), messages=False)
    assert "the response is empty" not in silent.body


def test_a_run_that_a_sweep_ended_early_says_so(tmp_path):
    pruned = tmp_path / "pruned"
    evaluated_runs.write_run(pruned)
    told = {"step": 90, "reason": "the median is lower"}
    (pruned / "pruned.json").write_text(json.dumps(told))
    evaluated = evaluated_runs.evaluated("b")
    rows = [ReportedRun.of_folder(pruned, evaluated)]
    metrics = [{"step": 1, "truncation_rate": 0.0}]
    rows.append(dataclasses.replace(run("a"), metrics=metrics))
    text = read_html.read(left_out(rows, styles(rows), messages=True).body).text
    assert "ended early" in text and "after step 90: the median is lower" in text
    whole = left_out(rows[1:], styles(rows[1:]), messages=True)
    assert "ended early" not in whole.body


def test_a_pair_without_a_verdict_counts_once_and_only_among_the_rows():
    def unanswered(first, second, count):
        rate = Estimate(0.5)
        return WinRate(first, second, "j", rate, 1, 0, 1, unanswered=count)

    # Kept from two evaluations, in which the runs stood the other way round.
    rows = [
        run("a", (unanswered("a", "b", 3), unanswered("a", "elsewhere", 40))),
        run("b", (unanswered("b", "a", 3),)),
    ]
    page = read_html.read(left_out(rows, styles(rows), messages=True).body)
    (table,) = [x for x in page.all("table") if x.all("caption")[0].text == "Responses"]
    last = [row.all("td")[-1].text for row in table.all("tbody")[0].all("tr")]
    assert last == ["3", "3"]


def test_names_of_another_script_are_files_and_figures_of_their_own():
    figures = {
        name: Estimate(0.5, 0.4, 0.6)
        for name in ("kl", "reward", "reward/краткость", "reward/вежливость")
    }
    rates = [
        WinRate("b", "a", judge, Estimate(0.5), 1, 0, 1)
        for judge in ("судья", "эксперт")
    ]
    rows = [run("a", **figures), run("b", rates, **figures)]
    for part, count in ((against_kl(rows, styles(rows)), 3),
                        (win_rates(rows, styles(rows)), 2)):  # fmt: skip
        assert len(part.figures) == count
        ids = [x.attributes.get("id") for x in read_html.read(part.body).walk()]
        ids = [name for name in ids if name]
        assert len(ids) == len(set(ids))


def test_strengths_stand_where_all_were_compared():
    rates = [
        WinRate(first, second, "j", Estimate(rate), int(100 * rate), 0, 100 - int(100 * rate))
        for first, second, rate in (("b", "a", 0.75), ("c", "a", 0.9), ("c", "b", 0.75))
    ]  # fmt: skip
    rows = [run("a"), run("b", rates[:1]), run("c", rates[1:])]
    part = win_rates(rows, styles(rows))
    found = {(judge, label): x for judge, label, x in part.tables["strengths"].rows}
    expected = bradley_terry(["a", "b", "c"], rates)
    assert found == {("j", label): x for label, x in expected.items()}
    assert part.others["strengths"]["j"] == expected
    header, *body = read_html.read(part.body).all("table")[0].all("tr")
    assert header.all("th")[-1].text.startswith("strength")
    shown = [row.all("td")[-1].text for row in body]
    assert shown == [f"{x:+.2f}".replace("-", "−") for x in expected.values()]
    # A pair that nobody judged leaves them out, and does not stop the report.
    few = [run("a"), run("b", rates[:1]), run("c", rates[2:])]
    part = win_rates(few, styles(few))
    assert "strengths" not in {*part.tables, *part.others}


def test_settings_tell_only_what_differs(reported):
    part = settings(reported, styles(reported))
    page = read_html.read(part.body)
    (table,) = page.all("table")
    (row,) = table.all("tbody")[0].all("tr")
    assert [cell.text for cell in row.all("th", "td")] == [
        "TAU",
        "1.0",
        "2.0",
        "3.0",
        "4.0",
    ]
    assert len(page.all("pre")) == 4


def test_a_log_that_a_kill_cut_short_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st')
    assert read_lines(path) == [{"step": 1}]
    path.write_text('{"st\n{"step": 2}\n')
    with pytest.raises(DataError, match="metrics.jsonl line 1 cannot be read"):
        read_lines(path)
    assert read_lines(tmp_path / "none.jsonl") == []
