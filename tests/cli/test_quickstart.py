"""The quickstart at a hundredth of its size: the same code, too short to learn much."""

import json

import foreign_project
import gin
import pytest
from small_gin import SIZES

from dro_jax.cli.main import main
from dro_jax.cli.quickstart_command import _limit, quickstart
from dro_jax.errors import ConfigError
from dro_jax.training.metric_writers import read_metrics


@pytest.mark.slow
def test_writes_the_report_that_the_readme_promises(tmp_path, monkeypatch, capsys):
    # In a project whose folders are called as ours are.
    foreign_project.make(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    bindings = [f"{name} = {value}" for name, value in SIZES.items()]
    bindings += ["LOG_PERIOD = 10", "WARMUP_STEPS = 2"]
    quickstart(tmp_path, seed=1, steps=10, bindings=bindings)
    gin.clear_config()
    report = json.loads((tmp_path / "report.json").read_text())
    reward = report["reward"]
    assert set(reward) == {"reference", "dro_v", "logged", "best_possible"}
    assert 0 <= reward["reference"] <= 1
    assert 0.3 < reward["logged"] < 0.5
    assert reward["best_possible"] == 1.0
    assert report["seconds"] > 0
    assert report["policies"]["reference"]["kl"] == pytest.approx(0.0, abs=1e-3)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "true_reward" in page
    shown = capsys.readouterr().out
    for row in ("reference", "DRO-V", "logged data", "best possible"):
        assert row in shown
    assert read_metrics(tmp_path / "reference")[-1]["step"] == 10
    assert read_metrics(tmp_path / "dro_v")[-1]["step"] == 10
    lines = (tmp_path / "dro_v" / "metrics.jsonl").read_bytes()
    quickstart(tmp_path, seed=1, steps=10, bindings=bindings)
    gin.clear_config()
    again = json.loads((tmp_path / "report.json").read_text())
    assert again["reward"] == report["reward"]
    assert (tmp_path / "dro_v" / "metrics.jsonl").read_bytes() == lines
    with pytest.raises(ConfigError, match="RANDOM_SEED: 1 → 2"):
        quickstart(tmp_path, seed=2, steps=10, bindings=bindings)
    gin.clear_config()


def test_few_steps_are_warmed_up_in_fewer():
    assert _limit("reference", None) == []
    assert _limit("reference", 3) == ["TRAIN_STEPS = 3", "WARMUP_STEPS = 2"]
    assert _limit("dro_v", 450) == ["TRAIN_STEPS = 450", "WARMUP_STEPS = 20"]


def test_refuses_no_seed(tmp_path, capsys):
    assert main(["quickstart", f"--output_dir={tmp_path}", f"--seed={2**64}"]) == 2
    assert "seed is 18446744073709551616; give a number of 32" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_refuses_no_steps(tmp_path, capsys):
    assert main(["quickstart", f"--output_dir={tmp_path}", "--steps=0"]) == 2
    assert "--steps must be at least 1" in capsys.readouterr().err
