"""UltraFeedback, from files in openbmb's shape that are made here."""

import json

import numpy as np
import pytest
import task_runs
from published_files import asked, completion
from split_texts import identities_of, prompts_of, responses_of

from dro_jax.data.tasks import feedback_task
from dro_jax.errors import DataError
from dro_jax.tasks.ultrafeedback import TASKS, ultrafeedback_task


@pytest.fixture
def published(data_folder):
    folder = data_folder / "ultrafeedback"
    folder.mkdir()
    for name in ("evol_instruct", "flan"):
        rows = [
            {
                "source": name,
                "instruction": f"Ask {i}?",  # both files have the same
                "models": ["made-up-7b"] * 2,
                "completions": [completion("Yes.", i % 10), completion("No.", 1.0)],
                "correct_answers": ["None"],
                "incorrect_answers": ["None"],
            }
            for i in range(150)
        ]
        rows[0]["completions"][0]["overall_score"] = None
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "README.md").write_text("no data\n")
    return folder


def test_each_completion_is_a_trajectory_and_rewards_are_normalised(published):
    task = feedback_task(ultrafeedback_task())
    train, held_out = (task.records(split) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 2 * 2 * 150 - 2
    assert not set(prompts_of(train)) & set(prompts_of(held_out))
    assert 0 < len(held_out) < len(train) / 10
    assert prompts_of(train)[1] == asked("Ask 1?")
    assert list(responses_of(train)[1:3]) == ["Yes.", "No."]
    assert list(train.rewards[1:3]) == [1.0, 1.0]
    assert identities_of(train)[1].endswith("evol_instruct.jsonl line 2 completion 1")
    assert train.report.reasons() == {"reward_missing": 2}
    figures = task.statistics().transformed
    assert (figures.mean, figures.std) == pytest.approx((0, 1), abs=1e-6)


def test_another_score_may_be_the_reward(published):
    name = ultrafeedback_task(reward_field="honesty", name="honest_of_run")
    assert set(feedback_task(name).records("train").rewards) == {4.0}


def test_without_files_people_are_told_where_to_get_them(data_folder):
    told = r"ultrafeedback does not exist: .*openbmb/UltraFeedback.*DRO_JAX_DATA"
    with pytest.raises(DataError, match=told):
        list(TASKS["ultrafeedback"].source().records("train"))
    (data_folder / "ultrafeedback").mkdir()
    told = r"ultrafeedback holds no files of records.*openbmb/UltraFeedback"
    with pytest.raises(DataError, match=told):
        list(TASKS["ultrafeedback"].source().records("train"))


def test_the_papers_run_takes_steps(published, tmp_path):
    run = ["gin_configs/runs/paper/ultrafeedback.gin"]
    assert task_runs.objective_of(run) == "DROV"
    assert np.isfinite(task_runs.cloned(run, tmp_path / "run", draws=False))
