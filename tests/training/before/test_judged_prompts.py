"""Prompts that judge a run: none of those that its value is fitted to."""

import dataclasses
import json
import types

import pytest
from array_data import ArrayDataset
from training_runs import HELD_OUT, run

from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.objectives import AWR
from dro_jax.training.before.judged_prompts import judged_part
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.before.value_fit_data import FitData
from dro_jax.training.metric_writers import read_metrics

SPLIT = ArrayDataset(num_records=32, num_epochs=1, split="validation", batch_size=1)


def test_fitted_and_judging_prompts_share_none(capsys):
    judging, records = judged_part(SPLIT, 0.5), SPLIT.prompt_records()
    judges = records.prompts[list(judging.kept)]
    data = FitData.of(SPLIT.batches(), records, 0.2, 0.5)
    fitted = data.prompts[data.train | data.held_out]
    assert not set(judges.tolist()) & set(fitted.tolist())
    assert len(judges) + len(fitted) == 32
    said = capsys.readouterr().err
    counts = [len(set(own.tolist())) for own in (judges, fitted)]
    assert sum(counts) < 32  # several responses to a prompt are on one side
    assert f"{counts[0]} prompts ({len(judges)} records) are evaluated" in said
    assert f"fitted to the other {counts[1]} " in said


def test_nothing_judges_or_nothing_is_fitted():
    assert judged_part(SPLIT, 0) is SPLIT
    one = dataclasses.replace(SPLIT, num_records=1)
    with pytest.raises(DataError, match="has 1 prompt, .* train.value_fit_dataset_cfg"):
        judged_part(one, 0.5)
    grouped = types.SimpleNamespace(group_size=2, split="validation", name="copying")
    with pytest.raises(ConfigError, match="is grouped .* train.value_fit_dataset_cfg"):
        judged_part(grouped, 0.5)
    with pytest.raises(ConfigError, match=r"judged_fraction = 1 must be in \[0, 1\)"):
        ValueFitConfig(judged_fraction=1)


def test_a_run_is_judged_on_its_part(tmp_path, reference_dir):
    held_out = dataclasses.replace(HELD_OUT, batch_size=1)
    judging = len(list(judged_part(held_out, 0.5).batches()))
    settings = {
        "initial_checkpoint_path": str(reference_dir),
        "train_eval_dataset_cfg": held_out,
        "value_fit": ValueFitConfig(num_heads=2, num_epochs=1),
    }
    run(tmp_path, AWR(), steps=1, **settings)
    assert read_metrics(tmp_path)[-1]["eval/num_trajectories"] == judging
    report = json.loads((tmp_path / "value_of_reference.json").read_text())
    assert report["train_records"] + report["held_out_records"] == 16 - judging
    # As a run that was begun before prompts were shared out.
    settings["value_fit"] = ValueFitConfig(num_heads=2, num_epochs=1, judged_fraction=0)
    with pytest.raises(CheckpointError, match="prompts that judge: 0.5 → 0"):
        run(tmp_path, AWR(), steps=2, **settings)
