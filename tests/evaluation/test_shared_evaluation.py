import os

import pytest

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun
from dro_jax.evaluation.shared_evaluation import shared_folders


def evaluate(run, name, seconds):
    """An evaluation that was finished at a time."""
    folder = run / "evaluations" / name
    EvaluatedRun(run.name, {"name": name}, (), {"reward": Estimate(1.0)}).write(folder)
    os.utime(folder / "evaluation.json", (seconds, seconds))


def test_the_newest_that_all_runs_have(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    evaluate(one, "a", 100)
    evaluate(other, "a", 400)
    evaluate(one, "b", 300)
    evaluate(other, "b", 200)
    evaluate(one, "alone", 500)
    (other / "evaluations/alone").mkdir()  # begun, not finished
    found = shared_folders([one, other])
    assert found == [one / "evaluations/a", other / "evaluations/a"]
    assert shared_folders([one, other], "b")[0].name == "b"
    assert shared_folders([one])[0].name == "alone"


def test_runs_without_one_in_common_are_told_what_each_has(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    evaluate(one, "a", 100)
    with pytest.raises(
        DataError, match="one has a; .*other has none.*dro-jax evaluate"
    ):
        shared_folders([one, other])
    with pytest.raises(DataError, match="no evaluation called b"):
        shared_folders([one], "b")
