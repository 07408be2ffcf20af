"""The page of a sweep and the files beside it."""

import csv
import dataclasses
import json
import re
import time

import numpy as np
import pytest
import read_html
from swept_runs import JUDGE, Made, made_sweep, settings_of

from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.halves import halves
from dro_jax.reporting.sweep_results import SweepResults
from dro_jax.reporting.swept.report import write_sweep_report

PARTS = ["comparison", "equal-kl", "sensitivity", "learning-curves", "samples"]
PARTS += ["trials", "cost"]


@pytest.fixture(scope="module")
def html(swept):
    return (swept / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(html):
    return read_html.read(html)


@pytest.fixture(scope="module")
def numbers(swept):
    return json.loads((swept / "report.json").read_text("utf-8"))


def rows_of(folder, name):
    with (folder / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_parts_are_there_and_names_are_unique(page):
    assert [x.attributes["id"] for x in page.all("section")] == PARTS
    names = [x.attributes["id"] for x in page.walk() if "id" in x.attributes]
    assert len(names) == len(set(names))
    for table in page.all("table"):
        assert table.all("caption")[0].text
        columns = table.all("thead")[0].all("th", scope="col")
        for row in table.all("tbody")[0].all("tr"):
            assert len(row.all("td")) == len(columns) - 1
    for plot in page.all("svg", role="img"):
        assert plot.all("title")[0].text and plot.all("desc")[0].text


def test_nothing_is_loaded_and_no_folder_is_told(html, swept, sweep):
    assert len(html.encode()) < 3_000_000
    assert re.findall(r"@import|url\((?!#)|https?:", html) == []
    home = str(sweep[0].parent)
    for path in swept.rglob("*.*"):
        if path.suffix in (".html", ".json", ".csv", ".md"):
            assert home not in path.read_text("utf-8"), path
    files = {x.relative_to(swept).as_posix() for x in swept.glob("*/*")}
    assert files == set(json.loads((swept / "report.json").read_text())["files"])


def test_the_best_setting_is_reported_on_the_other_half(numbers, sweep):
    """Recomputed here from the runs' own files."""
    by_name = {row["compared"]: row for row in numbers["comparison"]}
    assert list(by_name) == ["reference", "NLL", "KTO", "DRO-V"]
    found = by_name["DRO-V"]
    assert found["setting"] == {"TAU": 0.1} and found["mark"] == "best"
    rewards = {}
    for trial in sweep[1].trials:
        given = (trial.values.get("objective"), trial.values.get("TAU"))
        if given == ("DRO-V", 0.1):
            path = sweep[0] / trial.folder
            (file,) = path.glob("evaluations/*/responses.jsonl")
            for line in map(json.loads, file.read_text().splitlines()):
                own = rewards.setdefault(line["prompt_id"], [])
                own.append(line["rewards"]["helpful"])
    choosing, reporting = halves(rewards)
    for name, half in (("reported", reporting), ("chosen", choosing)):
        mean = np.mean([rewards[prompt] for prompt in half])
        told = {"reported": found["figures"]["reward"]["value"],
                "chosen": found["chosen_at"]}[name]  # fmt: skip
        assert told == pytest.approx(mean)
    spread = np.std(np.mean([rewards[x] for x in reporting], axis=0), ddof=1)
    assert found["seeds_sd"] == pytest.approx(spread)
    assert found["figures"][f"win_rate/{JUDGE}"]["value"] > 0.9
    assert "reward/helpful" not in found["figures"]  # that is `reward`
    assert found["figures"]["distinct_2"]["low"] is not None


def test_pairs_have_holms_p(swept):
    pairs = {(x["first"], x["second"]): x for x in rows_of(swept, "differences")}
    assert ("DRO-V", "KTO") in pairs and ("NLL", "reference") in pairs
    assert float(pairs["DRO-V", "KTO"]["difference"]) == pytest.approx(0.3, abs=0.12)
    for row in pairs.values():
        assert float(row["p_holm"]) >= float(row["p"])


def test_a_budget_of_kl_takes_another_setting(swept, numbers):
    rows = {(x["compared"], float(x["most_kl"])): x for x in rows_of(swept, "equal_kl")}
    limits = sorted({most for _, most in rows})
    assert limits == [0.5, 1, 2]
    assert rows["DRO-V", 0.5]["setting"] == "TAU 1"
    assert rows["NLL", 0.5]["setting"] == ""  # it goes to 0.6
    assert float(rows["DRO-V", 0.5]["kl"]) < 0.5 < float(rows["NLL", 1.0]["kl"])
    text = (swept / "tables/equal_kl.md").read_text()
    assert text.splitlines()[0] == "| objective | KL ≤ 0.5 | KL ≤ 1 | KL ≤ 2 |"
    assert text.splitlines()[2].startswith("| NLL | – | 0.")


def test_documents_can_quote_the_table(swept, numbers):
    lines = (swept / "tables/comparison.md").read_text().splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 6
    value = numbers["comparison"][3]["figures"]["reward"]["value"]
    assert f"| DRO-V | TAU 0.1 | 3 | {value:.3f} [" in lines[-1]


def test_sensitivity_is_of_each_value(swept, numbers, page):
    rows = {(x["compared"], x["value"]): x for x in rows_of(swept, "sensitivity")}
    assert set(rows) == {(x, v) for x in ("KTO", "DRO-V") for v in ("0.03", "0.1", "1")}
    assert float(rows["DRO-V", "1"]["kl"]) < float(rows["DRO-V", "0.03"]["kl"])
    low, high = (float(rows["KTO", "1"][x]) for x in ("lowest_seed", "highest_seed"))
    assert low <= float(rows["KTO", "1"]["reward"]) <= high
    (part,) = page.all("section", id="sensitivity")
    assert "had no effect on NLL" in part.text
    assert len(part.all("svg", role="img")) == 2
    assert (swept / "figures/sensitivity_tau.png").exists()
    lines = (swept / "tables/sensitivity_tau.md").read_text().splitlines()
    assert lines[0] == "| objective | TAU 0.03 | TAU 0.1 | TAU 1 |"


def test_trials_that_came_to_nothing_are_told(page, swept):
    (part,) = page.all("section", id="trials")
    text = " ".join(part.text.split())
    assert "not finished: of 27 trials 1 wait and 1 run" in text
    tables = {x.all("caption")[0].text: x.text for x in part.all("table")}
    assert "data/log.jsonl line 7: 'Please write" in tables["Failed"]
    assert "eval/loss 3.1 at step 20" in tables["Pruned: ended early"]
    assert "it has no evaluation" in tables["Complete, and not compared"]
    assert "TAU" in tables["Settings that some trials do not read"]
    states = [x["state"] for x in rows_of(swept, "trials")]
    assert states.count("complete") == 23 and len(states) == 27


def test_costs_are_summed(swept):
    rows = {x["of"]: x for x in rows_of(swept, "cost")}
    assert list(rows) == ["stage reference", "NLL", "KTO", "DRO-V", "all"]
    assert float(rows["DRO-V"]["seconds"]) == 270 and rows["DRO-V"]["tries"] == "9"
    assert int(rows["all"]["tokens"]) == 9000 + 21 * 4000
    assert rows["KTO"]["trials"] == "14" and rows["KTO"]["complete"] == "10"


def test_without_samples_no_text_is_left_in_any_file(sweep, tmp_path):
    folder, results = sweep
    write_sweep_report(results, folder, tmp_path, max_samples=0)
    for path in tmp_path.rglob("*.*"):
        if path.suffix != ".png":
            content = path.read_text("utf-8")
            assert "Question " not in content, path
            assert "neighbour" not in content, path
    assert not (tmp_path / "tables/samples.csv").exists()
    assert "line 7: “…” is no number" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("it isn't a number: 'Question of one' was", "it isn't a number: “…” was"),
        ("line 7: {!r} ends", "line 7: “…” ends"),
        ("line 7: \"I don't know my neighbour's name\" ends", "line 7: “…” ends"),
        ("cut: 'Question: isn't my neigh", "cut: “…”"),
        ("agents must be 'good' or 'poor', not 'best'", None),
        ("the axes' values aren't numbers", None),
    ],
)
def test_no_quoted_text_is_left_in_a_reason(sweep, tmp_path, reason, told):
    """Whatever quotes the text has itself; names of settings stay."""
    folder, results = sweep
    text = "My neighbour's \"old\" one, 'as they say', and Question after"
    failed = next(trial for trial in results.trials if trial.state == "failed")
    failed = dataclasses.replace(failed, reason=reason.format(text))
    results = dataclasses.replace(results, trials=(failed,))
    write_sweep_report(results, folder, tmp_path, max_samples=0)
    (row,) = rows_of(tmp_path, "trials")
    assert row["reason"] == (told or reason)


def test_conditions_have_tables_of_their_own(tmp_path):
    """With noise the order turns; a setting is chosen under each."""

    def of(values):
        noisy = values["NOISE"] > 0.1
        best = {"KTO": 0.4, "DRO-V": 0.2 if noisy else 0.7}[values["objective"]]
        away = abs(values["TAU"] - (2 if noisy else 1))
        return Made(best - 0.15 * away, noise=0.1, kl=0.5)

    settings = settings_of(["KTO", "DRO-V"], NOISE=[0.0, 0.3], TAU=[1, 2])
    results = made_sweep(
        tmp_path / "s", settings, of, conditions=["NOISE"], seeds=(0,), num_prompts=20
    )
    write_sweep_report(results, tmp_path / "s", tmp_path / "r", max_samples=0)
    rows = {
        (x["NOISE"], x["compared"]): x for x in rows_of(tmp_path / "r", "comparison")
    }
    assert rows["0.0", "DRO-V"]["setting"] == "TAU 1"
    assert rows["0.3", "DRO-V"]["setting"] == "TAU 2"
    assert (rows["0.0", "DRO-V"]["mark"], rows["0.3", "KTO"]["mark"]) == ("best",) * 2
    lines = (tmp_path / "r/tables/conditions.md").read_text().splitlines()
    assert lines[0] == "| objective | NOISE 0 | NOISE 0.3 |"
    page = read_html.read((tmp_path / "r/report.html").read_text("utf-8"))
    assert page.all("section")[0].attributes["id"] == "conditions"
    assert "With one seed" in page.all("section", id="comparison")[0].text


def test_a_sweep_without_evaluations_tells_of_its_trials(sweep, tmp_path):
    trials = [x for x in sweep[1].trials if x.state != "complete"]
    results = dataclasses.replace(sweep[1], trials=tuple(trials))
    write_sweep_report(results, tmp_path, tmp_path / "report")
    page = read_html.read((tmp_path / "report/report.html").read_text("utf-8"))
    assert [x.attributes["id"] for x in page.all("section")] == ["trials", "cost"]
    assert "none can be compared" in page.all("header")[0].text


def test_one_setting_alone_is_a_page(tmp_path):
    results = made_sweep(
        tmp_path / "s", [{"LEARNING_RATE": 0.1}], lambda _: Made(0.5), seeds=(0,),
        num_prompts=8, judged=False,
    )  # fmt: skip
    write_sweep_report(results, tmp_path / "s", tmp_path / "r")
    (reference, own) = rows_of(tmp_path / "r", "comparison")
    assert (reference["compared"], own["compared"]) == ("reference", "made")
    assert (own["mark"], own["seeds_apart"], own["seeds"]) == ("", "", "1")


def test_choosing_by_the_judge(sweep, tmp_path):
    folder, results = sweep
    name = f"win_rate/{JUDGE}"
    write_sweep_report(results, folder, tmp_path, chooses=name, max_samples=0)
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["chooses"] == name
    assert 0 <= numbers["comparison"][1]["chosen_at"] <= 1
    with pytest.raises(
        ConfigError, match="one of reward, reward/helpful, reward/short"
    ):
        write_sweep_report(results, folder, tmp_path, chooses="kl")
    with pytest.raises(ConfigError, match="--samples must be 0 or more"):
        write_sweep_report(results, folder, tmp_path, max_samples=-1)


def test_too_few_prompts_are_not_halved(tmp_path):
    results = made_sweep(
        tmp_path / "s", [{"objective": "a"}], lambda _: Made(0.5), num_prompts=3
    )
    write_sweep_report(results, tmp_path / "s", tmp_path / "r")
    html = (tmp_path / "r/report.html").read_text("utf-8")
    assert "of 3 prompts no half can choose" in html


@pytest.mark.slow
def test_many_runs_and_objectives_stay_readable_and_small(tmp_path):
    """Twelve objectives, ten settings each, some with three seeds: 120 runs."""
    objectives = [f"objective {n} of a long name" for n in range(12)]
    settings = settings_of(objectives, TAU=[0.03, 0.1, 0.3, 1.0, 3.0], BETA=[1, 2])
    results = made_sweep(
        tmp_path / "s", settings, lambda x: Made(x["TAU"] / 5, kl=x["BETA"]),
        seeds=(0,), num_prompts=300, words=30,
    )  # fmt: skip
    assert len(results.trials) == 121
    begun = time.process_time()
    write_sweep_report(results, tmp_path / "s", tmp_path / "r")
    assert time.process_time() - begun < 30
    html = (tmp_path / "r/report.html").read_text("utf-8")
    assert len(html.encode()) < 3_000_000
    page = read_html.read(html)
    keys = {x.all("svg")[0].attributes["style"] + x.all("path")[0].attributes["d"]
            for x in page.all("header")[0].all("li")}  # fmt: skip
    assert len(keys) == 12


def test_damaged_files_are_told(tmp_path):
    results = made_sweep(
        tmp_path / "s", [{"objective": "a"}], lambda _: Made(0.5), num_prompts=8
    )
    (file,) = (tmp_path / "s/policies/0001").glob("evaluations/*/responses.jsonl")
    file.write_text("{")
    with pytest.raises(DataError, match="holds no evaluation that can be read"):
        write_sweep_report(
            SweepResults.read(tmp_path / "s"), tmp_path / "s", tmp_path / "r"
        )
    assert results.name == "made"
