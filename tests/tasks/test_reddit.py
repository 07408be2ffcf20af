"""Replies on Reddit, from comments in the published columns that are made here."""

import csv
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
from split_texts import identities_of, prompts_of, responses_of

from dro_jax import rewards
from dro_jax.cli import gin_setup
from dro_jax.cli.named_rewards import named_rewards
from dro_jax.data.records import RecordProblem
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.tasks.reddit import TASKS, expand_comment, reddit_task

COLUMNS = (
    "id",
    "parent_id",
    "subreddit_id",
    "link_id",
    "text",
    "score",
    "ups",
    "author",
    "controversiality",
    "parent_link_id",
    "parent_text",
    "parent_score",
    "parent_ups",
    "parent_author",
    "parent_controversiality",
)


@pytest.fixture(scope="module")
def comments(tmp_path_factory):
    """The folder of the two published files."""
    folder = tmp_path_factory.mktemp("published") / "reddit"
    folder.mkdir()
    for kind, sign in (("positive", 1), ("negative", -1)):
        with open(folder / f"comments_{kind}.csv", "w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, restval="0")
            table.writeheader()
            for i in range(250):
                row = {
                    "id": f"{kind}{i}",
                    "text": f"{kind}\n\nreply  {i}, see https://www.x.org/a_{i}?b=c.",
                    "score": f"{sign * (60 + i)}",
                    "parent_text": f"comment {i}",
                }
                if i == 7:
                    row["text"] = ""
                if i == 8:
                    row["parent_text"] = "word " * 101
                table.writerow(row)
    return folder


@pytest.fixture
def published(data_folder, comments):
    (data_folder / "reddit").symlink_to(comments)
    return data_folder / "reddit"


def made(**settings):
    return feedback_task(reddit_task(**settings))


@pytest.mark.parametrize(
    ("kind", "file"), [("upvoted", "positive"), ("downvoted", "negative")]
)
def test_one_kind_is_trained_on_and_both_are_held_out(published, kind, file):
    task = made(task=f"reddit_{kind}")
    train = task.records("train")
    assert 230 < len(train) < 248
    assert all(text.startswith(f"{file} reply") for text in responses_of(train))
    assert (prompts_of(train)[0], responses_of(train)[0]) == (
        "comment 0",
        f"{file} reply 0, see <URL>",
    )
    assert train.rewards[0] == (60 if kind == "upvoted" else -60)
    assert identities_of(train)[0].endswith(f"{file}.csv line 2 (id {file}0)")
    assert train.report.reasons() == {"empty_comment": 1, "long_comment": 1}
    ids = [set(identities_of(train))]
    for split in ("validation", "test"):
        held_out = task.records(split)
        kinds = {text.split()[0] for text in responses_of(held_out)}
        assert kinds == {"positive", "negative"}
        ids.append(set(identities_of(held_out)))
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_a_share_is_kept_by_ids(published):
    whole = set(identities_of(made().records("train")))
    half = set(identities_of(made(share=0.5, name="half_of_run").records("train")))
    assert half < whole
    assert 0.4 < len(half) / len(whole) < 0.6
    with pytest.raises(ConfigError, match=r"reddit_task\.share = 0.0: give more"):
        made(share=0.0, name="none_of_run")


def test_a_reward_stands_in_the_votes_place(published):
    distinct = rewards.Distinctness(str(published / "comments_*.csv"), "text")
    sum_of_two = rewards.WeightedSum([rewards.Length(), distinct], [1.0, 1.0])
    records = made(scored_by=sum_of_two).records("train")
    # 5 words; tf-idf of "positive", "reply", "0"…, of which the corpus knows no <URL>.
    assert all(5 < reward < 6 for reward in records.rewards)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": None}, "empty_comment"),
        ({"text": " \n"}, "empty_comment"),
        ({"parent_text": ["a"]}, "wrong_type"),
        ({"parent_text": ...}, "missing_field"),
        ({"score": ...}, "missing_field"),
        ({"id": ...}, "missing_field"),
    ],
)
def test_comments_that_cannot_be_used(change, reason):
    fields = {"id": "c", "score": 1, "text": "a", "parent_text": "b"} | change
    fields = {name: value for name, value in fields.items() if value is not ...}
    with pytest.raises(RecordProblem) as caught:
        list(expand_comment(fields))
    assert caught.value.reason == reason


def test_without_files_people_are_told_where_to_get_them(data_folder):
    for name, task in TASKS.items():
        file = "positive" if name == "reddit_upvoted" else "negative"
        told = rf"comments_{file}\.csv does not exist: .*kaggle.*DRO_JAX_DATA"
        with pytest.raises(DataError, match=told):
            list(task.source().records("train"))


def test_an_unknown_task_is_told_which_there_are():
    with pytest.raises(
        ConfigError, match=r"reddit_task\.task = 'reddit_pos' is unknown"
    ):
        reddit_task("reddit_pos")


def test_the_papers_run_takes_steps(published, tmp_path):
    run = ["gin_configs/runs/paper/reddit.gin"]
    given = ("REDDIT_SHARE = 1.0", "SAFETY_CLASSIFIER = '/none'", "SAFE_LABEL = 0")
    assert task_runs.objective_of(run, *given) == "ALoL"
    # The program among the five; the classifiers are tested with tiny ones.
    own = "SCORED_BY = @rewards.Distinctness()"
    assert 0 < task_runs.cloned(run, tmp_path / "run", *given, own) < 1


@pytest.fixture
def five_attributes(monkeypatch, tmp_path):
    """Builds the reward of the gin file from what is to be set."""
    monkeypatch.setenv("DRO_JAX_SCORES_DIR", str(tmp_path / "scores"))

    def build(*bindings):
        gin_setup.parse(["gin_configs/rewards/reddit.gin"], bindings)
        return named_rewards()[0]

    yield build
    gin.clear_config()


def test_each_attribute_is_read_as_a_lol_reads_it(five_attributes):
    reward = five_attributes("SAFETY_CLASSIFIER = '/safety'", "SAFE_LABEL = 'fine'")
    *cached, diversity = reward.rewards
    turns = "{prompt}<|endoftext|>{response}"
    read = {
        name: (member.reward.path, member.reward.label, member.reward.template)
        for name, member in zip(reward.names, cached, strict=False)
    }
    assert read == {
        "fluency": ("textattack/roberta-base-CoLA", 1, "{response}"),
        "engagement": ("microsoft/DialogRPT-depth", None, turns),
        "upvotes": ("microsoft/DialogRPT-updown", None, turns),
        "safety": ("/safety", "fine", "pair"),
    }
    assert {member.reward.output for member in cached} == {"probability"}
    assert (diversity.corpus, diversity.field) == (
        "$DRO_JAX_DATA/reddit/comments_*.csv",
        "text",
    )
    assert reward.weights == [1.0] * 5


@pytest.mark.slow
@needs("torch", "transformers")
def test_the_reward_is_the_sum_of_five_attributes(five_attributes, tmp_path):
    prompts, responses = ["it is", "so"], ["good day", "bad"]
    joined = [
        (f"{p}<|endoftext|>{r}",) for p, r in zip(prompts, responses, strict=True)
    ]
    alone = [(text,) for text in responses]
    folder = str(tmp_path / "model")
    kind = {"labels": ["score"], "problem": None, "chat_template": None}
    calls = [
        ("make", {"folder": folder, **kind}),
        ("logits_of_each", {"folder": folder, "lists": [joined, alone]}),
    ]
    done = subprocess.run(
        [sys.executable, tiny_classifiers.__file__, json.dumps(calls)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=False,  # what it printed tells more
    )
    assert done.returncode == 0, done.stderr
    logits = np.array(json.loads(done.stdout.splitlines()[-1]))[..., 0]
    of_both, of_response = 1 / (1 + np.exp(-logits))
    corpus = tmp_path / "corpus.csv"
    corpus.write_text("id,text\n1,good day\n2,bad day\n")
    kinds = ("FLUENCY", "ENGAGEMENT", "UPVOTE", "SAFETY")
    reward = five_attributes(
        *(f"{kind}_CLASSIFIER = '{folder}'" for kind in kinds),
        "FLUENT_LABEL = 'score'",
        "SAFE_LABEL = 0",
        "SAFETY_TEMPLATE = '{prompt}<|endoftext|>{response}'",
        f"CORPUS = '{corpus}'",
    )
    found = reward(prompts, responses)
    diversity = rewards.Distinctness(str(corpus), "text")(prompts, responses).total
    expected = {
        "fluency": of_response,
        "engagement": of_both,
        "upvotes": of_both,
        "safety": of_both,
        "diversity": diversity,
    }
    assert list(found.parts) == list(expected)
    for name, numbers in expected.items():
        assert found.parts[name] == pytest.approx(numbers, rel=1e-4)
    assert found.total == pytest.approx(sum(expected.values()), rel=1e-4)
    assert diversity.min() > 0
