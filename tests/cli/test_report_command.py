"""`dro-jax report` by its command line, on runs that were evaluated."""

import dataclasses
import json

import evaluated_runs
import pytest
import swept_runs

from dro_jax.cli.main import main
from dro_jax.cli.runs_to_report import reported_runs
from dro_jax.evaluation.win_rates import matched

NAME = "desk_validation_0123abcd"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs and what they started from, which is evaluated too."""
    monkeypatch.chdir(tmp_path)
    for label in ("reference", "kto", "dro_v"):
        folder = tmp_path / label
        evaluated_runs.write_run(folder)
        if label != "reference":
            with (folder / "config.gin").open("a") as file:
                file.write(f"INITIAL_CHECKPOINT_PATH = '{tmp_path / 'reference'}'\n")
        # Few figures: drawing is what takes time.
        evaluated = evaluated_runs.evaluated(label)
        figures = {name: evaluated.figures[name] for name in ("reward", "kl")}
        at = folder / "evaluations" / NAME
        dataclasses.replace(evaluated, figures=figures, tables={}).write(at)
        (folder / "metrics.jsonl").unlink()
    (rate,) = evaluated_runs.win_rates(["dro_v", "kto"])
    line = json.dumps(dataclasses.asdict(rate)) + "\n"
    (tmp_path / "dro_v" / "evaluations" / NAME / "verdicts.jsonl").write_text(line)
    return tmp_path


def test_it_writes_a_page_of_runs_and_their_reference(runs, capsys):
    assert main(["report", "kto", "dro_v", "kto/", "--output=out", "--samples=4"]) == 0
    assert f"3 rows of the evaluation {NAME}" in capsys.readouterr().out
    numbers = json.loads((runs / "out" / "report.json").read_text())
    assert numbers["runs"] == ["reference", "kto", "dro_v"]
    assert len(numbers["samples"]) == 4
    assert numbers["win-rates"][0]["first"] == "kto"
    differs = numbers["settings"]["kto"]["differs"]
    assert (
        differs == {}
    )  # where a run starts from is no setting that any code reads here
    assert "Policies compared on desk" in (runs / "out" / "report.html").read_text()


def test_a_reference_is_found_where_runs_were_moved(runs, capsys, monkeypatch):
    (runs / "moved").mkdir()
    for label in ("reference", "dro_v"):
        (runs / label).rename(runs / "moved" / label)
    monkeypatch.chdir(runs / "moved")
    assert main(["report", "dro_v", "--output=out", "--samples=0"]) == 0
    assert f"2 rows of the evaluation {NAME}" in capsys.readouterr().out
    (runs / "moved" / "reference").rename(runs / "reference elsewhere")
    assert main(["report", "dro_v", "--output=out", "--samples=0"]) == 0
    assert f"1 row of the evaluation {NAME}" in capsys.readouterr().out


def test_win_rates_of_other_responses_are_left_out(runs):
    """Written when another run was called `kto`, or before it was sampled anew."""
    path = runs / "dro_v" / "evaluations" / NAME / "verdicts.jsonl"
    line = json.loads(path.read_text())
    both = (evaluated_runs.evaluated(label).responses for label in ("dro_v", "kto"))
    digest = matched(*both).digest
    for written, count in ((digest, 1), ("0" * 16, 0)):
        path.write_text(json.dumps(line | {"pairs_digest": written}) + "\n")
        *_, dro_v = reported_runs([runs / "kto", runs / "dro_v"], NAME)
        assert len(dro_v.win_rates) == count


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "out"),
        (["--evaluation=none"], "no evaluation called none"),
        (["--samples=-1"], "--samples must be 0 or more"),
        (["--num_prompts=3"], "have no effect on what is evaluated already"),
        (["--split=train"], "have no effect on what is evaluated already"),
        (["--temperature=0"], "have no effect on what is evaluated already"),
        (["--seed=1"], "have no effect on what is evaluated already"),
        (["--gin.REWARD=1"], "have no effect on what is evaluated already"),
        (["nowhere"], "there is no such folder"),
        (["--choose_by=reward"], "--choose_by is of a sweep"),
    ],
)
def test_what_cannot_be_shown_is_refused(runs, capsys, more, message):
    if not more:
        (runs / "kto" / "evaluations" / NAME / "evaluation.json").unlink()
        message = "dro-jax evaluate"
    assert main(["report", "kto", "dro_v", *more, "--output=out"]) == 2
    assert message in capsys.readouterr().err


def test_a_sweep_has_a_page_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = [{"objective": "KTO"}, {"objective": "DRO-V"}]
    swept_runs.made_sweep(
        tmp_path / "sweep", settings, lambda _: swept_runs.Made(0.5), num_prompts=8,
        seeds=(0,),
    )  # fmt: skip
    given = ["report", "sweep", "--output=out", "--samples=0", "--title=Two"]
    assert main([*given, "--choose_by=reward/short"]) == 0
    assert "3 trials of the sweep made" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "out/report.json").read_text())
    assert (numbers["title"], numbers["chooses"]) == ("Two", "reward/short")
    for more, message in (
        (["--choose_by=kl"], "no setting can be chosen by 'kl'"),
        (["--evaluation=none"], f"called none: they have {swept_runs.NAME}"),
        (["--task=desk"], "evaluated by `dro-jax sweep`"),
        (["--num_prompts=3"], "have no effect on what is evaluated already"),
    ):
        assert main([*given, *more]) == 2, more
        assert message in capsys.readouterr().err
    assert main(["report", "sweep", "sweep/policies/0001", "--output=out"]) == 2
    assert "give it alone" in capsys.readouterr().err
    (tmp_path / "sweep/sweep.json").write_text("{}")
    assert main(given) == 2
    assert "sweep.json cannot be read" in capsys.readouterr().err
