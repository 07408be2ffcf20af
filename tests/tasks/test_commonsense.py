"""Commonsense inferences, from files in the published shapes that are made here."""

import json

import numpy as np
import pytest
import task_runs
from split_texts import identities_of, prompts_of, responses_of

from dro_jax.data.records import RecordProblem
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards import Scores
from dro_jax.tasks.commonsense import (
    TASKS,
    BestResponses,
    commonsense_task,
    expand_logged,
    expand_triple,
)
from dro_jax.tasks.commonsense_critic import CommonsenseCritic

TEST = (
    "PersonX naps\txEffect\tsnores\n"
    "PersonX naps\txNeed\ta bed\n"
    "PersonX naps\txEffect\tfeels rested at last\n"
    "PersonX naps\tAtLocation\tbed\n"
    'PersonX says "no" \txReact\t"sure", they say\n'
    "PersonX naps\txEffect\tsinks\n"
)


class Length:
    """Of a tail, as the critic's worth; it says what it was asked."""

    name, fingerprint = "length", "length"

    def __init__(self):
        self.asked = []

    def __call__(self, prompts, responses):
        self.asked += list(zip(prompts, responses, strict=True))
        return Scores(np.array([float(len(text)) for text in responses]))


@pytest.fixture
def files(data_folder):
    folder = data_folder / "commonsense"
    folder.mkdir()
    rows = [
        {
            "head": f" PersonX walks {i} dogs",
            "relation": relation,
            "tail": f"tail {i}",
            "split": split,
            **{f"rec_0.{n}": True for n in range(5, 10)},
            "p_valid_model": i / 8,
        }
        for split in ("train", "val", "test")
        for i in range(4)
        for relation in ("xEffect", "HinderedBy")
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "ATOMIC10X.jsonl").write_text(text)
    (folder / "test.tsv").write_text(TEST)
    return folder


@pytest.fixture
def made(files):
    """Makes the task of a run."""
    return lambda **settings: feedback_task(commonsense_task(**settings))


def test_records_are_those_of_the_files_splits(made):
    task = made()
    assert task.splits == ("train", "validation")
    for split in task.splits:
        records = task.records(split)
        assert len(records) == 8
        assert prompts_of(records)[3] == (
            "<head> PersonX walks 1 dogs </head> <relation> HinderedBy </relation> [GEN] "
        )
        assert responses_of(records)[3] == "tail 1"
        assert records.rewards[3] == 1 / 8
    first, _ = (identities_of(task.records(split))[0] for split in task.splits)
    assert first.endswith("ATOMIC10X.jsonl line 1")


def test_the_critic_chooses_the_first_best_tail_of_each_prompt(made):
    task = made(critic=(critic := Length()))
    assert task.splits == ("train", "validation", "test")
    records = task.records("test")
    assert [text.split("> ")[-2] for text in prompts_of(records)] == [
        "xEffect </relation",
        "xNeed </relation",
        "xReact </relation",
    ]
    # Quotes are read as the released code reads them, by Python's csv.
    assert responses_of(records) == ["feels rested at last", "a bed", "sure, they say"]
    assert list(records.rewards) == [20.0, 5.0, 14.0]
    assert len(critic.asked) == 5  # AtLocation is no relation of ATOMIC10x
    assert [where.rpartition(" ")[2] for where in identities_of(records)] == list("325")


def test_of_equal_tails_the_first_is_kept(made):
    class Same(Length):
        def __call__(self, prompts, responses):
            return Scores(np.ones(len(responses)))

    records = made(critic=Same()).records("test")
    assert responses_of(records)[0] == "snores"


def test_tails_that_people_wrote_are_thumbs_up(made):
    records = made(task="atomic2020").records("test")
    assert len(records) == 5
    assert set(records.rewards) == {1.0}


def test_a_row_that_is_no_triple_is_named(made, files):
    (files / "test.tsv").write_text("PersonX naps\txEffect\ta\nPersonX naps\txEffect\n")
    with pytest.raises(DataError, match=r"test.tsv line 2: the row has 2 cells, but"):
        made(task="atomic2020", on_bad_record="error").records("test")
    left = made(task="atomic2020", name="left_out_of_run")
    assert len(left.records("test")) == 1
    assert left.record_report("test").dropped[0].identity.endswith("line 2")
    (files / "test.tsv").write_text('{"head": "PersonX naps"}\n')
    with pytest.raises(DataError, match="no table of 3 columns"):
        made(task="atomic2020", name="again_of_run").records("test")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head": None}, "wrong_type"),
        ({"relation": "oWant"}, "unknown_relation"),
        ({"tail": ...}, "missing_field"),
    ],
)
def test_triples_that_cannot_be_used(change, reason):
    fields = {"head": "PersonX naps", "relation": "xNeed", "tail": "a bed"} | change
    fields = {name: value for name, value in fields.items() if value is not ...}
    with pytest.raises(RecordProblem) as caught:
        list(expand_triple(fields))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [({}, "missing_field"), ({"split": "dev"}, "unknown_split")],
)
def test_a_record_of_no_split_is_told_of(change, reason):
    fields = {"head": "PersonX naps", "relation": "xNeed", "tail": "a bed"} | change
    with pytest.raises(RecordProblem, match="'split' is") as caught:
        list(expand_logged(fields))
    assert caught.value.reason == reason


def test_without_files_people_are_told_where_to_get_them(data_folder):
    for name, split, where in (
        (
            "commonsense",
            "train",
            r"ATOMIC10X\.jsonl does not exist: .*storage.googleapis",
        ),
        ("atomic2020", "test", r"test\.tsv does not exist: .*comet-atomic-2020"),
    ):
        source = TASKS[name].source()
        with pytest.raises(DataError, match=f"{where}.*DRO_JAX_DATA"):
            list(source.records(split))


def test_the_critic_reads_two_sentences_with_names():
    asked = Length()
    critic = CommonsenseCritic(asked, names=("Ann", "Bo"))
    prompt = "<head> PersonX sees PersonY </head> <relation> xReact </relation> [GEN] "
    assert critic([prompt], ["fond of PersonY"]).total.tolist() == [33.0]
    assert asked.asked == [("Ann sees Bo", "as a result, Ann feels fond of Bo")]
    assert critic.fingerprint != CommonsenseCritic(asked).fingerprint
    with pytest.raises(DataError, match="cannot read the prompt 'hello'"):
        critic(["hello"], ["x"])
    with pytest.raises(ConfigError, match="two different names"):
        CommonsenseCritic(asked, names=("Ann", "Ann"))


def test_best_responses_pass_bad_records_on(made):
    from dro_jax.data.records import RawRecord

    class Rows:
        splits = ("test",)

        def records(self, split):
            yield RawRecord("row 1", {"prompt": "p", "response": "r"})
            yield RawRecord("row 2", problem=RecordProblem("not_json", "no JSON"))
            yield RawRecord("row 3", {"prompt": "p", "response": "s", "reward": 1})

    found = list(BestResponses(Rows()).records("test"))
    reasons = [raw.problem.reason for raw in found if raw.problem]
    assert reasons == ["missing_field", "not_json"]
    assert found[-1].identity == "row 3"


def test_the_papers_run_takes_steps(files, tmp_path):
    run = ["gin_configs/runs/paper/commonsense.gin"]
    assert task_runs.objective_of(run) == "ALoL"
    reward = task_runs.cloned(run, tmp_path / "run")
    assert 0 < reward < 3 / 8
