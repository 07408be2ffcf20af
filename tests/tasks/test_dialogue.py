"""Dialogues about passages, from files in the published shapes that are made here."""

import json
import os
import subprocess
import sys

import gin
import numpy as np
import pytest
import task_runs
import tiny_classifiers
from in_transformers import needs
from published_dialogues import (
    FAITHDIAL,
    FAITHDIAL_PROMPTS,
    FAITHDIAL_RESPONSES,
    WIZARD,
    WIZARD_PROMPTS,
    WIZARD_RESPONSES,
)
from split_texts import prompts_of, responses_of

from dro_jax.cli import gin_setup
from dro_jax.cli.named_rewards import named_rewards
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.mixtures import tasks_and_rates
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards import Distinctness, Length
from dro_jax.tasks.dialogue import TASKS, dialogue_task
from dro_jax.tasks.dialogue_rewards import dialogue_reward

REWARD = "gin_configs/rewards/dialogue.gin"


@pytest.fixture
def published(data_folder):
    files = {
        "wizard_of_wikipedia": ("train", "valid_topic_split", "test_random_split"),
        "faithdial": ("train", "valid", "test"),
    }
    for (folder, names), rows in zip(files.items(), (WIZARD, FAITHDIAL), strict=True):
        (data_folder / folder).mkdir()
        for name in names:
            (data_folder / folder / f"{name}.json").write_text(json.dumps(rows))
    return data_folder


def test_replies_are_scored_as_they_are_read(published):
    for name, prompts, responses in (
        ("wizard_of_wikipedia", WIZARD_PROMPTS, WIZARD_RESPONSES),
        ("faithdial", FAITHDIAL_PROMPTS, FAITHDIAL_RESPONSES),
    ):
        task = feedback_task(dialogue_task(name, scored_by=Length()))
        for split in ("train", "validation"):
            records = task.records(split)
            assert list(prompts_of(records)) == prompts
            assert list(responses_of(records)) == responses
            assert list(records.rewards) == [len(r.split()) for r in responses]
    wizard = feedback_task("wizard_of_wikipedia_of_run")
    assert len(wizard.records("test_seen")) == len(WIZARD_PROMPTS)


def test_long_dialogues_lose_their_oldest_turns(published):
    task = feedback_task(dialogue_task(most_words=3, scored_by=Length()))
    assert prompts_of(task.records("train"))[1] == (
        "Knowledge: Tea is a hot drink.\n\nWizard: Hm.\n\nApprentice: Come on.\n\nWizard:"
    )


def test_both_are_mixed_in_proportion_to_their_sizes(published):
    name = dialogue_task("faithdial_wow", scored_by=Length())
    assert name == dialogue_task("faithdial_wow", scored_by=Length())
    config = DatasetConfig(name, {"inputs": 32, "targets": 16}, batch_size=5)
    assert sorted(rate for _, rate in tasks_and_rates(name)) == [2.0, 3.0]
    (batch,) = config.one_pass().batches()
    expected = [len(r.split()) for r in WIZARD_RESPONSES + FAITHDIAL_RESPONSES]
    assert sorted(batch["rewards"][:, 0]) == sorted(expected)


def test_without_files_people_are_told_where_to_get_them(data_folder):
    for name, told in (
        (
            "wizard_of_wikipedia",
            r"train\.json does not exist: .*wizard_of_wikipedia\.tgz",
        ),
        ("faithdial", r"train\.json does not exist: .*McGill-NLP/FaithDial"),
    ):
        with pytest.raises(DataError, match=told + ".*DRO_JAX_DATA"):
            list(TASKS[name].source().records("train"))


def test_an_unknown_task_is_told_which_there_are():
    with pytest.raises(
        ConfigError, match=r"'wow' is unknown: use one of .*faithdial_wow"
    ):
        dialogue_task("wow")
    with pytest.raises(ConfigError, match=r"dialogue_task\.name has no effect"):
        dialogue_task("faithdial_wow", name="a", scored_by=Length())


def test_the_papers_run_takes_steps(published, tmp_path):
    run = ["gin_configs/runs/paper/dialogue.gin"]
    assert task_runs.objective_of(run) == "ALoL"
    # A program in the classifiers' place, which are tested with tiny ones.
    run.append("gin_configs/rewards/length.gin")
    assert 4 <= task_runs.cloned(run, tmp_path / "run") <= 5


@pytest.fixture
def parsed(published):
    """The reward as gin files have it."""

    def parse(*bindings):
        gin_setup.parse([REWARD], list(bindings))
        (reward,) = named_rewards()
        return reward

    yield parse
    gin.clear_config()


def test_each_attribute_reads_what_it_was_made_for(published, parsed):
    reward = parsed()
    assert reward == dialogue_reward("$DRO_JAX_DATA/wizard_of_wikipedia/train.json")
    faithful, fluent, engaging, diverse = reward.rewards
    # T5's vocabulary reads line breaks as spaces.
    for prompt in (WIZARD_PROMPTS[0], WIZARD_PROMPTS[0].replace("\n\n", " ")):
        assert faithful.rewritten(prompt) == "It is older than coffee."
        assert engaging.rewritten(prompt) == (
            "I know all of tea.<|endoftext|>Is it old?<|endoftext|>"
        )
    assert fluent.reward.template == "{response}"
    assert not reward.looks_at_others
    found = diverse(WIZARD_PROMPTS, WIZARD_RESPONSES).total
    corpus = Distinctness()(WIZARD_PROMPTS, WIZARD_RESPONSES).total
    assert found.tolist() == corpus.tolist() and (found > 0).all()
    with pytest.raises(DataError, match=r"'faithfulness' looks for .*'Human: Tea\?'"):
        faithful.rewritten("Human: Tea?")


def _in_transformers(calls):
    done = subprocess.run(
        [sys.executable, tiny_classifiers.__file__, json.dumps(calls)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=False,  # what it printed tells more
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]))


def _first_of_two(logits):
    return 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))


@pytest.mark.slow
@needs("torch", "transformers")
def test_the_reward_is_the_sum_of_four_attributes(tmp_path, parsed, monkeypatch):
    monkeypatch.setenv("DRO_JAX_SCORES_DIR", str(tmp_path / "scores"))
    prompts = [
        f"Knowledge: {k}\n\nApprentice: is it\n\nWizard:" for k in ("a b", "bad")
    ]
    responses = ["it is", "so bad"]
    two, one = str(tmp_path / "two"), str(tmp_path / "one")
    kind = {"problem": None, "chat_template": None}

    def logits(folder, texts):
        return "logits", {"folder": folder, "texts": texts}

    make = [
        ("make", {"folder": two, "labels": ["Entailment", "Hallucination"], **kind}),
        ("make", {"folder": one, "labels": ["score"], **kind}),
    ]
    texts = [*zip(("a b", "bad"), responses, strict=True), *((r,) for r in responses)]
    found = _in_transformers([*make, logits(two, texts)])
    faithful, fluent = found[:2], found[2:]
    joined = [(f"is it<|endoftext|>{text}",) for text in responses]
    engaging = _in_transformers([logits(one, joined)])[:, 0]
    reward = parsed(
        f"FAITHFULNESS_CLASSIFIER = '{two}'",
        f"FLUENCY_CLASSIFIER = '{two}'",
        f"ENGAGEMENT_CLASSIFIER = '{one}'",
    )
    found = reward(prompts, responses)
    expected = {
        "faithfulness": _first_of_two(faithful),
        "fluency": 1 - _first_of_two(fluent),
        "engagement": 1 / (1 + np.exp(-engaging)),
        "diversity": reward.rewards[3](prompts, responses).total,
    }
    assert set(found.parts) == set(expected)
    assert list(expected["diversity"] > 0) == [True, False]
    for name, numbers in expected.items():
        assert found.parts[name] == pytest.approx(numbers, abs=1e-5), name
    assert found.total == pytest.approx(sum(expected.values()), abs=1e-5)
