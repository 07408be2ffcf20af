"""HHA's three formats, from files made here and, where it is there, the real data."""

import gzip
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import seqio
from split_texts import prompts_of, responses_of

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.records import RecordProblem
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import DataError

NAMES = ("hha", "hha_sigmoid", "hha_half_1", "hha_half_2", "hha_raw", "hha_pro")
LENGTHS = {"inputs": 32, "targets": 16}


@pytest.fixture
def load_tasks(monkeypatch):
    """Registers the tasks with a data folder; None, the one of this machine."""
    module = importlib.import_module("dro_jax.tasks.hha")

    def load(folder):
        for name in NAMES:
            seqio.TaskRegistry.remove(name)
        if folder is None:
            monkeypatch.undo()
        else:
            monkeypatch.setenv("DRO_JAX_DATA", str(folder))
        return importlib.reload(module)

    yield load
    load(None)


def _dialogue(number, reply):
    return f"\n\nHuman: question {number}\n\nAssistant: what?\n\nHuman: that\n\nAssistant:{reply}"


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hha")
    singles = [
        {
            "prompt": f"Human: question {i}\n\nAssistant:",
            "response": "" if i == 3 else f"answer {i}",
            "reward": i / 4,
            "prompt_id": f"id{i}",
        }
        for i in range(8)
    ]
    pairs = [
        {"chosen": _dialogue(i, f" good {i}"), "rejected": _dialogue(i, f" bad {i}")}
        for i in range(60)
    ]
    pairs += [
        {"chosen": _dialogue(0, " good"), "rejected": _dialogue(1, " bad")},
        {"chosen": "no turns", "rejected": "no turns"},
    ]
    lists = [
        {
            "prefix": [[f"<|prompter|>question {i}", "<|assistant|>"]] * 2,
            "suffix": [f"good {i}", f"bad {i}"],
            "reward": [i + 0.5, i - 0.5],
        }
        for i in range(60)
    ]
    for path, rows in (
        ("hha/train.jsonl.gz", singles),
        ("hha/validation.jsonl.gz", singles[:2]),
        ("hh_rlhf_raw/harmless-base-test.jsonl.gz", pairs),
        ("hha_pro_raw/dev-200.jsonl.gz", lists),
    ):
        (folder / path).parent.mkdir(exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / path).write_bytes(gzip.compress(text.encode()))
    with open(folder / "hha" / "spm8k.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(row["prompt"] for row in singles),
            model_writer=file,
            vocab_size=60,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    return folder


def _records(name, split):
    loaded = feedback_task(name).records(split)
    return list(
        zip(prompts_of(loaded), responses_of(loaded), loaded.rewards, strict=True)
    )


def test_single_trajectories(load_tasks, made_folder):
    load_tasks(made_folder)
    records = _records("hha", "train")
    assert records[0] == ("Human: question 0\n\nAssistant:", "answer 0", 0.0)
    assert len(records) == 7
    (dropped,) = feedback_task("hha").record_report().dropped
    assert dropped.identity.endswith("train.jsonl.gz line 4 (prompt_id id3)")
    assert len(_records("hha", "validation")) == 2


def test_halves_share_no_prompt_and_validate_alike(load_tasks, made_folder):
    load_tasks(made_folder)
    first, second = _records("hha_half_1", "train"), _records("hha_half_2", "train")
    assert first and second and sorted(first + second) == _records("hha", "train")
    whole = feedback_task("hha").records("validation")
    for name in ("hha_half_1", "hha_half_2"):
        half = feedback_task(name).records("validation")
        assert list(prompts_of(half)) == list(prompts_of(whole))
    (dropped,) = [
        record
        for name in ("hha_half_1", "hha_half_2")
        for record in feedback_task(name).record_report().dropped
    ]
    assert dropped.identity.endswith("train.jsonl.gz line 4 (prompt_id id3)")


def test_pairs_become_thumbs_and_bad_pairs_are_dropped(load_tasks, made_folder):
    load_tasks(made_folder)
    train, validation = _records("hha_raw", "train"), _records("hha_raw", "validation")
    assert len(train) + len(validation) == 2 * 60
    assert len(train) > len(validation) > 0
    assert not {prompt for prompt, _, _ in train} & {
        prompt for prompt, _, _ in validation
    }
    for prompt, response, reward in train:
        number = response.split()[1]
        assert prompt == _dialogue(number, "").strip()
        assert reward == (1.0 if response.startswith("good") else -1.0)
    dropped = feedback_task("hha_raw").record_report().dropped
    assert [(r.identity.rpartition("/")[2], r.reason) for r in dropped] == [
        ("harmless-base-test.jsonl.gz line 61", "prompts_differ"),
        ("harmless-base-test.jsonl.gz line 62", "no_reply"),
    ]


def test_lists_become_trajectories(load_tasks, made_folder):
    load_tasks(made_folder)
    train, validation = _records("hha_pro", "train"), _records("hha_pro", "validation")
    assert len(train) + len(validation) == 2 * 60
    assert not {prompt for prompt, _, _ in train} & {
        prompt for prompt, _, _ in validation
    }
    for prompt, response, reward in train:
        quality, number = response.split()
        assert prompt == f"Human: question {number}\n\nAssistant:"
        assert reward == int(number) + (0.5 if quality == "good" else -0.5)
    assert feedback_task("hha_pro").identity(1).endswith("jsonl.gz line 1 reply 2")


def test_batches_of_all(load_tasks, made_folder):
    load_tasks(made_folder)
    for name in NAMES:
        batch = next(DatasetConfig(name, LENGTHS, batch_size=4).batches())
        assert batch["encoder_input_tokens"].shape == (4, 32)
        assert np.isfinite(batch["rewards"]).all()


def test_without_data_the_tasks_exist_and_say_what_to_set(load_tasks, tmp_path):
    load_tasks(tmp_path)
    for name in NAMES:
        config = DatasetConfig(name, LENGTHS, module="dro_jax.tasks.hha")
        assert set(config.tasks()[0].splits) == {"train", "validation"}
        with pytest.raises(DataError, match=r"does not exist: .*DRO_JAX_DATA"):
            config.batches()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing_field"),
        ({"prefix": [], "suffix": "a", "reward": []}, "wrong_type"),
        ({"prefix": [["<|assistant|>"]], "suffix": [], "reward": []}, "unequal_lists"),
        ({"prefix": ["text"], "suffix": ["a"], "reward": [1]}, "wrong_type"),
        ({"prefix": [[]], "suffix": ["a"], "reward": [1]}, "no_open_turn"),
        (
            {"prefix": [["<|prompter|>q"]], "suffix": ["a"], "reward": [1]},
            "no_open_turn",
        ),
        (
            {
                "prefix": [["<|system|>q", "<|assistant|>"]],
                "suffix": ["a"],
                "reward": [1],
            },
            "unknown_speaker",
        ),
    ],
)
def test_lists_that_cannot_be_used(fields, reason):
    module = importlib.import_module("dro_jax.tasks.hha")
    with pytest.raises(RecordProblem) as caught:
        list(module.expand_pro(fields))
    assert caught.value.reason == reason


def _real_data():
    folder = importlib.import_module("dro_jax.tasks.hha").DATA_DIR
    if not (Path(folder) / "hha" / "train.jsonl.gz").exists():
        pytest.skip(f"no HHA data in {folder}: set DRO_JAX_DATA to its folder")


# Counts as the data's README states them, less the records whose response is empty.
@pytest.mark.parametrize(
    ("name", "read", "dropped"),
    [
        ("hha", 9_900 + 1_004, {"empty_response": 10}),
        ("hha_half_1", 4_994 + 1_004, {"empty_response": 7}),
        ("hha_raw", 2 * (2_312 - 5), {"empty_response": 4}),
        ("hha_pro", 2 * 200, {}),
    ],
)
def test_real_data_is_whole(load_tasks, name, read, dropped):
    load_tasks(None)
    _real_data()
    task = feedback_task(name)
    reports = [task.record_report(split) for split in ("train", "validation")]
    counts = {}
    for report in reports:
        for reason, count in report.reasons().items():
            counts[reason] = counts.get(reason, 0) + count
    # A pair without a common prompt is met in both splits.
    assert counts.pop("prompts_differ", 0) == (10 if name == "hha_raw" else 0)
    assert counts == dropped
    assert sum(r.num_kept for r in reports) == read - sum(dropped.values())


def test_real_rewards_are_normalised(load_tasks):
    load_tasks(None)
    _real_data()
    statistics = feedback_task("hha").statistics()
    assert statistics.recorded.mean == pytest.approx(-0.08, abs=0.005)
    assert statistics.recorded.std == pytest.approx(0.98, abs=0.005)
    assert statistics.transformed.mean == pytest.approx(0, abs=1e-6)
    assert statistics.transformed.std == pytest.approx(1, abs=1e-6)


def test_real_data_gives_batches_with_the_published_share_of_real_tokens(load_tasks):
    load_tasks(None)
    _real_data()
    config = DatasetConfig("hha", {"inputs": 512, "targets": 256}, batch_size=128)
    real = total = 0
    for batch in config.one_pass().batches():
        rows = batch["trajectory_weights"].sum()
        real += (batch["encoder_input_tokens"] != 0).sum()
        real += batch["decoder_loss_weights"].sum()
        total += rows * (512 + 256)
    # The data's README: 24.7% at 512/256, without the end-of-text token of each text.
    assert real / total == pytest.approx(0.247, abs=0.004)
