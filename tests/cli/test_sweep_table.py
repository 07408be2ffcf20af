"""What a sweep says of what is there already."""

import pytest

from dro_jax.cli.sweep_plan import Plan
from dro_jax.cli.sweep_table import plan_table, stages_table
from dro_jax.sweeps import Stage, Sweep
from dro_jax.sweeps.interface import PlannedTrial

SHARED = (
    "REFERENCE_CACHE_DIR = '$SWEEP_DIR/reference_cache/1'",
    "REFERENCE_SAMPLES_DIR = '$SWEEP_DIR/reference_samples/2'",
    "VALUE_OF_REFERENCE_DIR = '$SWEEP_DIR/value_of_reference/3'",
)


@pytest.fixture
def plan():
    trial = PlannedTrial("policy", "key", "policy", {}, (), SHARED)
    sweep = Sweep(stages=[Stage("policy", ["run.gin"])])
    return Plan(sweep, {"policy": [trial]}, searches=None)


def test_the_splits_that_are_there_are_named(plan, tmp_path):
    """Of one split that is there it does not follow that all are."""
    assert stages_table(plan, tmp_path) == "1/1 policy: 1 run"
    for name in (
        "reference_cache/1/a-train/table",
        "reference_cache/1/a-validation/part-0.npz",
        "reference_samples/2/a-train/part-0.npz",
        "value_of_reference/3/a-train/values.npy",
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    told = stages_table(plan, tmp_path)
    assert told == "1/1 policy: 1 run; there already: reference_cache/1 (a-train)"
    (tmp_path / "reference_cache/1/a-validation/table").touch()
    (tmp_path / "value_of_reference/3/report.json").touch()
    assert stages_table(plan, tmp_path).endswith(
        "reference_cache/1 (a-train, a-validation), value_of_reference/3 (the fit)"
    )
    assert plan_table(plan, tmp_path).endswith(
        "shares reference_cache/1 (there already: a-train, a-validation), "
        "reference_samples/2, value_of_reference/3 (there already: the fit)"
    )
