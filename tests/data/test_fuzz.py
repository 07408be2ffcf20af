"""Over a thousand malformed records among good ones: none slips through, none is lost."""

import json
import random

import numpy as np
import pytest
from malformed import BAD, SEED, bad_lines, good, good_lines, line, malformed
from split_texts import identities_of, prompts_of, responses_of

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.preprocessing import PROMPT_TRUNCATED
from dro_jax.errors import DataError

LENGTHS = {"inputs": 24, "targets": 16}


@pytest.fixture(scope="module")
def mixed():
    """Lines in a random order, with None, reasons or the record for each."""
    rows = malformed() + good_lines(400) + [(b" \t ", None)] * 20
    random.Random(SEED).shuffle(rows)
    return rows


def test_there_are_more_than_a_thousand():
    lines = [raw for raw, _ in malformed()]
    assert len(lines) >= 1_000
    assert len(set(lines)) >= 900
    assert not any(b"\n" in raw for raw in lines)


def expected(rows, task):
    """(identity to reasons of the bad, identity to record of the good), in order."""
    name = task.records("train").identity(0).rpartition(" line ")[0]
    bad, fine = {}, {}
    for number, (_, what) in enumerate(rows, start=1):
        identity = f"{name} line {number}"
        if isinstance(what, dict):
            fine[identity] = what
        elif what is not None:
            bad[identity] = what
    return bad, fine


@pytest.mark.parametrize("transform", ["none", "normalize", "sigmoid", "clip(-1, 1)"])
def test_every_bad_record_is_dropped_and_listed_and_every_good_one_kept(
    transform, mixed, register
):
    task = register(
        [raw for raw, _ in mixed], on_bad_record="drop", reward_transform=transform
    )
    loaded = task.records("train")
    bad, fine = expected(mixed, task)
    report = task.record_report()
    assert [record.identity for record in report.dropped] == list(bad)
    for record in report.dropped:
        assert record.reason in bad[record.identity]
        assert record.message
    assert report.num_read == len(bad) + len(fine)
    assert identities_of(loaded) == list(fine)
    assert prompts_of(loaded) == [record["prompt"] for record in fine.values()]
    assert responses_of(loaded) == [record["response"] for record in fine.values()]
    np.testing.assert_array_equal(
        loaded.rewards, [float(record["reward"]) for record in fine.values()]
    )
    assert np.isfinite(task.source.rewards("train")).all()
    kept = json.loads(json.dumps(report.to_json(), ensure_ascii=False).encode())
    assert len(kept["dropped"]) == len(bad)


@pytest.mark.parametrize("pack", [False, True], ids=["padded", "packed"])
def test_batches_hold_every_good_record_once_and_nothing_that_is_not_finite(
    pack, mixed, register
):
    task = register(
        [raw for raw, _ in mixed], on_bad_record="drop", reward_transform="normalize"
    )
    _, fine = expected(mixed, task)
    config = DatasetConfig(
        task.name, LENGTHS, batch_size=64, num_epochs=1, seed=SEED, pack=pack
    )
    seen = []
    for batch in config.batches():
        check_batch(batch, task.vocabulary.vocab_size)
        identities = config.identities(batch)
        prompts = [fine[identity]["prompt"].encode() for identity in identities]
        # Bytes and the end-of-text token must fit.
        too_long = [len(prompt) + 1 > LENGTHS["inputs"] for prompt in prompts]
        present = batch["trajectory_weights"] > 0
        assert ((batch["truncated"][present] & PROMPT_TRUNCATED) == too_long).all()
        seen += identities
    assert sorted(seen) == sorted(fine)


def check_batch(batch, vocab_size):
    for name, values in batch.items():
        assert np.isfinite(values).all(), name
        if name.endswith("_tokens"):
            assert values.min() >= 0
            assert values.max() < vocab_size
    present = (batch["trajectory_weights"] > 0).any(axis=1)
    assert (batch["decoder_loss_weights"].sum(axis=1)[present] > 0).all()
    assert (batch["decoder_loss_weights"].sum(axis=1)[~present] == 0).all()


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
def test_a_bad_record_stops_by_file_and_line(kind, register):
    rng = random.Random(SEED)
    for raw in bad_lines(kind, 8):
        # At least one, since a mark at the start of a file is no part of a record.
        before = [line(good(rng)) for _ in range(rng.randint(1, 4))]
        task = register([*before, raw, line(good(rng))])
        with pytest.raises(DataError) as caught:
            task.records("train")
        where = f"{task.name}-train.jsonl line {len(before) + 1}: "
        assert where in str(caught.value)
        assert "on_bad_record='drop'" in str(caught.value)
        str(caught.value).encode()


KINDS = {
    "thumbs": (
        {"reward_kind": "thumbs"},
        ("👍", "👎🏿", "Up", " yes ", "thumbs  DOWN", True, False, 1, 0, -1, 1.0, "+1"),
        ("", " ", "maybe", "👌", 2, -2, 0.5, 10**400, None, [], {}, ["up"],
         float("nan"), float("inf"), "1.0", "11", "\x00", "ｕｐ"),
    ),
    "likert": (
        {"reward_kind": "likert", "likert_range": (1, 5)},
        (1, 5, 3, 2.5, 4.999999),
        (0, 6, 0.999999, 5.000001, -1, 10**400, None, True, False, "3", "", [], {},
         [3], float("nan"), float("inf"), -float("inf")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transform", ["none", "normalize", "sigmoid"])
def test_feedback_of_other_kinds(kind, transform, register):
    settings, fine, bad = KINDS[kind]
    rng = random.Random(f"{SEED} {kind}")
    rows = [(v, True) for v in fine] + [(v, False) for v in bad]
    rows = rows * 3
    rng.shuffle(rows)
    records = [{**good(rng), "reward": value} for value, _ in rows]
    task = register(
        records, on_bad_record="drop", reward_transform=transform, **settings
    )
    report = task.record_report()
    bad_numbers = [n for n, (_, is_fine) in enumerate(rows, start=1) if not is_fine]
    assert [r.identity.rpartition(" line ")[2] for r in report.dropped] == list(
        map(str, bad_numbers)
    )
    assert all(r.reason.startswith(("reward_", "unknown_")) for r in report.dropped)
    assert np.isfinite(task.source.rewards("train")).all()


@pytest.mark.parametrize("reward", [0, 1, -1.5, 0.1, 3e38, 1e-310])
@pytest.mark.parametrize("transform", ["none", "sigmoid", "clip(-1, 1)"])
def test_feedback_of_one_class_stays_finite(reward, transform, register):
    rng = random.Random(SEED)
    records = [{**good(rng), "reward": reward} for _ in range(7)]
    task = register(records, reward_transform=transform)
    config = DatasetConfig(task.name, LENGTHS, batch_size=4, num_epochs=1)
    rewards = []
    for batch in config.batches():
        check_batch(batch, task.vocabulary.vocab_size)
        rewards += batch["rewards"][batch["trajectory_weights"] > 0].tolist()
    assert len(rewards) == 7
    assert len(set(rewards)) == 1


@pytest.mark.parametrize("reward", [0, 1, -1.5, 0.1, 3e38, 1e-310])
def test_feedback_of_one_class_cannot_be_normalised(reward, register):
    rng = random.Random(SEED)
    records = [{**good(rng), "reward": reward} for _ in range(7)]
    task = register(records, reward_transform="normalize")
    config = DatasetConfig(task.name, LENGTHS, batch_size=4, num_epochs=1)
    with pytest.raises(DataError, match="7 rewards of the train split are all"):
        config.batches()


@pytest.mark.parametrize("kind", ["thumbs", "likert"])
def test_one_class_of_other_kinds(kind, register):
    settings, fine, _ = KINDS[kind]
    rng = random.Random(SEED)
    records = [{**good(rng), "reward": fine[0]} for _ in range(7)]
    task = register(records, **settings)
    assert set(task.source.rewards("train").tolist()) <= {-1.0, 1.0}
    task = register(records, reward_transform="normalize", **settings)
    with pytest.raises(DataError, match="7 rewards of the train split are all"):
        task.source.rewards("train")
