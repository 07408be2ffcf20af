"""A small sweep that really trains: what is run, shared, judged and told, and run once."""

import json
import re

import gin
import pytest
from small_gin import SIZES

from dro_jax import exit_codes
from dro_jax.cli.main import main
from dro_jax.reporting.sweep_results import SweepResults
from dro_jax.training.metric_writers import read_metrics

pytest.importorskip("optuna")

RECORDS = [
    {"prompt": f"say {word}", "response": answer, "reward": reward}
    for word in ("yes", "no", "maybe", "later", "now", "never")
    for answer, reward in ((word, 1.0), ("hm", -1.0))
]
SWEEP = """
from __gin__ import dynamic_registration
from dro_jax import sweeps

OBJECTIVES = {
    'DRO-V': 'gin_configs/objectives/dro_v.gin',
    'KTO': 'gin_configs/objectives/kto.gin',
    'one class': ['gin_configs/objectives/kto.gin', 'THRESHOLD = 5.0'],
}
TAUS = (0.5,)
SWEEP = @sweeps.Sweep()
sweeps.Sweep:
  stages = [@reference/sweeps.Stage(), @policies/sweeps.Stage()]
  evaluation = @sweeps.Evaluation()
  budget_tokens = 250
reference/sweeps.Stage:
  name = 'reference'
  gin_files = ['gin_configs/objectives/nll.gin', 'run.gin']
  bindings = {'TRAIN_STEPS': 2}
policies/sweeps.Stage:
  name = 'policies'
  gin_files = ['$objective', 'run.gin']
  bindings = {'INITIAL_CHECKPOINT_PATH': '$reference'}
  axes = [@sweeps.Files(), @sweeps.Grid()]
sweeps.Files:
  name = 'objective'
  values = %OBJECTIVES
sweeps.Grid:
  name = 'TAU'
  values = %TAUS
sweeps.Evaluation:
  gin_files = ['gin_configs/rewards/length.gin']
  num_prompts = 3
"""


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of three objectives, of which one cannot learn from such records."""
    folder = tmp_path_factory.mktemp("sweep")
    data = folder / "log.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    settings = SIZES | {
        "TRAIN_PATH": repr(str(data)),
        "VALIDATION_PATH": repr(str(data)),
        "BATCH_SIZE": 8,
        "LOG_PERIOD": 1,
        "WARMUP_STEPS": 1,
        "EVAL_DATASET": None,
        "train.train.tensorboard": False,
        "TASK_FEATURE_LENGTHS": "{'inputs': 12, 'targets': 8}",
    }
    files = ("models/tiny", "tasks/jsonl", "runs/train")
    run = [f"include 'dro_jax/gin_configs/{name}.gin'" for name in files]
    run += ["from __gin__ import dynamic_registration"]
    run += [
        "from dro_jax.models import t5_config",
        "from dro_jax.training import train",
    ]
    run += [f"{name} = {value}" for name, value in settings.items()]
    (folder / "run.gin").write_text("\n".join(run))
    (folder / "sweep.gin").write_text(SWEEP)
    return folder, sweep(folder)


def sweep(folder, *flags):
    return main(
        [
            "sweep",
            f"--gin_file={folder / 'sweep.gin'}",
            f"--gin_search_paths={folder}",
            f"--output_dir={folder / 'out'}",
            *flags,
        ]
    )


@pytest.mark.slow
def test_a_sweep_runs_each_trial_once_and_goes_on_with_what_is_new(swept, capfd):
    folder, status = swept
    assert status == exit_codes.REFUSED.number  # no reward is above 5
    out = folder / "out"
    results = SweepResults.read(out)
    by_label = {one.label: one for one in results.trials}
    assert {name: one.state for name, one in by_label.items()} == {
        "reference": "complete",
        "DRO-V · TAU 0.5": "complete",
        "KTO": "complete",
        "one class": "failed",
    }
    assert "needs both" in by_label["one class"].reason
    assert by_label["KTO"].unused == ("TAU",)
    # The budget is met by the step that reaches it, in the run's own count.
    for label in ("DRO-V · TAU 0.5", "KTO"):
        one = by_label[label]
        counts = [line["num_tokens"] for line in read_metrics(out / one.folder)]
        assert len(counts) == one.steps
        assert sum(counts[:-1]) < 250 <= sum(counts) == one.tokens
    assert len([*(out / "reference_cache").iterdir()]) == 1
    rewards = [*out.glob("*/*/evaluations/*/evaluation.json")]
    assert len(rewards) == 3
    assert len([*out.glob("policies/*/evaluations/*/verdicts.jsonl")]) == 2
    page = (out / "report" / "report.html").read_text("utf-8")
    assert "DRO-V" in page and str(folder) not in page

    # The same command has nothing to do; a value more makes one trial more.
    before = {x: x.stat().st_mtime_ns for x in out.glob("*/*/checkpoint_*")}
    capfd.readouterr()
    assert sweep(folder, "--gin.TAUS=(0.5, 1.0)") == exit_codes.REFUSED.number
    told = capfd.readouterr()
    assert re.findall(r"^policies \d{4}: (.*)$", told.err, re.MULTILINE) == [
        "DRO-V · TAU 1.0"
    ]
    # What is there is said before anything is run.
    begun = told.out + told.err
    kept = r"reference_cache/\w+ \(jsonl-train\)"
    assert re.search(r"1/\d reference: 1 run, there already", begun)
    assert re.search(r"policies: 4 runs, 1 of them left; there already: " + kept, begun)
    assert {x: x.stat().st_mtime_ns for x in before} == before
    again = SweepResults.read(out)
    assert [one.number for one in again.trials] == [0, 1, 2, 3, 4]

    assert sweep(folder, "--dry_run") == exit_codes.DONE.number
    told = capfd.readouterr().out
    assert "policies: 3 runs, there already" in told
    assert re.search(r"KTO +complete; from reference; no effect: TAU", told)
    kept = r"reference_cache/\w+ \(there already: jsonl-train\)"
    assert re.search(f"shares {kept}", told)
