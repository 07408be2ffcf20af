"""Searches by the command: what is planned, drawn, and ended early in real tiny runs."""

import json

import pytest
from small_gin import SIZES

from dro_jax.cli.main import main
from dro_jax.cli.sweep_file import read_sweep
from dro_jax.cli.sweep_plan import Planner
from dro_jax.sweeps.results import SweepResults
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.run_files import OWNER, PRUNED

FILE = "gin_configs/sweeps/quickstart_search.gin"


def test_a_search_is_planned_as_places_without_a_setting():
    plan = Planner(read_sweep([FILE])).plan()
    labels = [one.label for one in plan.trials["policies"]]
    assert labels == [f"DRO-V · draw {n} · seed 0" for n in range(16)]
    assert {one.metric for one in plan.trials["policies"]} == {"reward"}
    assert [one.metric for one in plan.trials["reference"]] == [None]


SWEEP = """
from __gin__ import dynamic_registration
from dro_jax import sweeps
SWEEP = @sweeps.Sweep()
sweeps.Sweep.stages = [@sweeps.Stage()]
sweeps.Stage:
  name = 'policies'
  gin_files = ['dro_jax/gin_configs/models/tiny.gin', 'dro_jax/gin_configs/tasks/jsonl.gin',
               'dro_jax/gin_configs/runs/train.gin', '$objective']
  bindings = %BINDINGS
  axes = [@sweeps.Files(), @sweeps.Grid(), @sweeps.Uniform()]
  search = @sweeps.Search()
  pruning = @sweeps.Pruning()
sweeps.Files:
  name = 'objective'
  values = {'NLL': 'dro_jax/gin_configs/objectives/nll.gin'}
sweeps.Grid:
  name = 'LEARNING_RATE'
  values = (3e-3, 30.0)
sweeps.Uniform:
  name = 'DROPOUT_RATE'
  low = 0.0
  high = 0.1
sweeps.Search:
  num_trials = 1
  metric = 'eval/loss'
  direction = 'minimize'
sweeps.Pruning:
  metric = 'eval/loss'
  startup_trials = 1
"""


@pytest.mark.slow
def test_a_drawn_trial_is_ended_in_the_middle_by_the_command(tmp_path, capsys):
    """The second trial's learning rate is absurd, and the first one's is not."""
    log = tmp_path / "log.jsonl"
    record = {"response": "d e"}
    log.write_text(
        "".join(
            json.dumps(record | {"prompt": f"{n}", "reward": n % 2}) + "\n"
            for n in range(16)
        )
    )
    bindings = SIZES | {
        "TRAIN_PATH": str(log),
        "VALIDATION_PATH": str(log),
        "TASK_FEATURE_LENGTHS": {"inputs": 16, "targets": 16},
        "BATCH_SIZE": 8,
        "TRAIN_STEPS": 6,
        "EVAL_PERIOD": 2,
        "WARMUP_STEPS": 1,
        "train.train.tensorboard": False,
    }
    (tmp_path / "sweep.gin").write_text(f"BINDINGS = {bindings}\n{SWEEP}")
    folder = tmp_path / "sweep"
    command = ["sweep", f"--gin_file={tmp_path}/sweep.gin", f"--output_dir={folder}"]
    assert main(command) == 0
    good, bad = trials = SweepResults.read(folder).trials
    assert [one.state for one in trials] == ["complete", "pruned"]
    assert good.value == read_metrics(folder / good.folder)[-1]["eval/loss"]
    assert 0 <= good.values["DROPOUT_RATE"] <= 0.1
    assert "is above the median of 1 trial, " in bad.reason
    ended = folder / bad.folder
    assert [line["step"] for line in read_metrics(ended)] == [2]
    told = json.loads((ended / PRUNED).read_text())
    assert told == {"step": 2, "reason": bad.reason}
    assert (ended / "checkpoint_2").is_dir()
    assert not (ended / OWNER).exists()
    # Nothing is run twice.
    assert main(command) == 0
    assert SweepResults.read(folder).trials == trials
    assert "pruned" in capsys.readouterr().out
