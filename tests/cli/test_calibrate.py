"""`dro-jax calibrate`, on a reward model and on what cannot be calibrated."""

import json

import pytest
from reward_models import make

from dro_jax.cli.main import main

TASK = ("--task=support_desk", "--num_records=40")


def flags(folder):
    return [
        "--gin_file=gin_configs/rewards/reward_model.gin",
        f"--gin.REWARD_MODEL_DIR='{folder}'",
        "--gin.REWARD_NAME='mine'",
    ]


def test_scores_and_rewards_of_a_split_are_compared(tmp_path, capsys):
    make(tmp_path / "model")
    output = tmp_path / "output"
    command = ["calibrate", *flags(tmp_path / "model"), *TASK]
    assert main([*command, f"--output_dir={output}"]) == 0
    assert "40 responses\n  Pearson " in capsys.readouterr().out
    found = json.loads((output / "calibration.json").read_text())
    assert found["agreement"]["count"] == 40
    assert sum(one["count"] for one in found["scores"]) == 40
    assert (found["reward"], found["task"]) == ("mine", "support_desk")
    assert (output / "calibration.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (TASK, "no reward is named"),
        ((*TASK, *flags("/tmp")), "/tmp is no reward model: it has no reward_model/"),
        (
            ("--task=support_desk", "--num_records=1"),
            "--num_records must be at least 2",
        ),
    ],
)
def test_what_cannot_be_is_one_message(tmp_path, capsys, arguments, message):
    assert main(["calibrate", *arguments, f"--output_dir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err
