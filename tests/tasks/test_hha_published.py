"""HHA from Anthropic's files, in their shape, made here."""

import gzip
import json

import pytest
import task_runs
from split_texts import prompts_of, responses_of

from dro_jax import rewards
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.tasks.hha_published import TASKS, hha_task


def dialogue(question, reply):
    return f"\n\nHuman: {question}\n\nAssistant: {reply}"


@pytest.fixture
def published(data_folder):
    for name in ("harmless-base", "helpful-online"):
        for split in ("train", "test"):
            path = data_folder / "hh-rlhf" / name / f"{split}.jsonl.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            pairs = [
                {
                    "chosen": dialogue(f"{name} {split} {i}", "well enough"),
                    "rejected": dialogue(f"{name} {split} {i}", "bad"),
                }
                for i in range(30)
            ]
            text = "".join(json.dumps(pair) + "\n" for pair in pairs)
            path.write_bytes(gzip.compress(text.encode()))
    return data_folder


def test_both_replies_of_all_folders_are_records(published):
    task = feedback_task(hha_task())
    sizes = {split: len(task.records(split)) for split in task.splits}
    assert sizes["train"] + sizes["validation"] == 2 * 2 * 30
    assert 0 < sizes["validation"] < 40
    assert sizes["test"] == 2 * 2 * 30
    held_out = set(prompts_of(task.records("validation")))
    assert not held_out & set(prompts_of(task.records("train")))
    records = task.records("test")
    assert prompts_of(records)[0] == "Human: harmless-base test 0\n\nAssistant:"
    assert responses_of(records)[:2] == ["well enough", "bad"]
    assert list(records.rewards[:2]) == [1.0, -1.0]


def test_a_reward_stands_in_the_thumbs_place(published):
    records = feedback_task(hha_task(scored_by=rewards.Length())).records("test")
    assert list(records.rewards[:2]) == [2.0, 1.0]


class NewEachTime:
    """A length that equals no other, as a reward model of our own does."""

    name = "new_each_time"

    def __init__(self, fingerprint):
        self.fingerprint = fingerprint

    def __call__(self, prompts, responses):
        return rewards.Length()(prompts, responses)


def test_a_reward_is_known_by_its_fingerprint(published):
    names = {hha_task(scored_by=NewEachTime("a")) for _ in range(2)}
    assert names == {"hha_published_of_run"}
    with pytest.raises(ConfigError, match="was registered with other settings"):
        hha_task(scored_by=NewEachTime("b"))
    with pytest.raises(ConfigError, match="was registered with other settings"):
        hha_task()


def test_without_files_people_are_told_where_to_get_them(data_folder):
    with pytest.raises(DataError, match=r"train\.jsonl.*huggingface.*DRO_JAX_DATA"):
        list(TASKS["hha_published"].source().records("train"))


def test_the_papers_run_takes_steps(published, tmp_path):
    run = ["gin_configs/rewards/length.gin", "gin_configs/runs/paper/hha_published.gin"]
    assert task_runs.objective_of(run) == "ALoL"
    reward = task_runs.cloned(run, tmp_path / "run")
    # The sigmoid of one or two words.
    assert 0.73 < reward < 0.89
