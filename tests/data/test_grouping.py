"""Groups of responses to one prompt, from tasks of single trajectories."""

import json

import numpy as np
import pytest
from array_data import assert_same_batches

from dro_jax.data import scratch
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.grouping import end_to_end, group_by_prompt
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.errors import ConfigError, DataError

LENGTHS = {"inputs": 12, "targets": 10}


def records(prompts, rewards):
    return PromptRecords(
        np.arange(len(prompts)), np.array(prompts), np.array(rewards, np.float32)
    )


def test_groups_are_ranked_cut_and_ordered_by_their_first_records():
    found = group_by_prompt(
        records([5, 3, 5, 3, 3, 9], [0.0, 1.0, 2.0, 1.0, 5.0, 7.0]), 2, "keep"
    )
    assert found.members.tolist() == [[2, 0], [1, 3], [4, -1], [5, -1]]
    assert found.to_json() == {
        "groups": 4,
        "prompts": 3,
        "groups of one response": 2,
        "dropped": 0,
    }


def test_single_responses_are_dropped_and_counted():
    found = group_by_prompt(records([5, 3, 5], [0.0, 1.0, 2.0]), 4, "drop")
    assert found.members.tolist() == [[2, 0, -1, -1]]
    assert (found.num_singles, found.num_dropped) == (1, 1)


def by_hand(prompts, rewards, size, singles):
    """The groups in plain Python."""
    groups, open_ones = [], {}
    for position, prompt in enumerate(prompts.tolist()):
        group = open_ones.get(prompt)
        if group is None or len(group) == size:
            group = open_ones[prompt] = []
            groups.append(group)
        group.append(position)
    kept = [g for g in groups if singles == "keep" or len(g) > 1]
    ranked = [sorted(g, key=lambda position: -rewards[position]) for g in kept]
    return [g + [-1] * (size - len(g)) for g in ranked]


@pytest.mark.parametrize("singles", ["keep", "drop"])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_groups_are_those_made_by_hand(singles, size, monkeypatch):
    # Of chunks of records and groups, some of which fall within a prompt.
    chunks = scratch.chunks
    monkeypatch.setattr(scratch, "chunks", lambda count: chunks(count, 16))
    rng = np.random.default_rng(size)
    for most in (3, 40, 500):
        prompts = rng.integers(0, most, 200).astype(np.uint64) << np.uint64(60)
        prompts += rng.integers(0, most, 200).astype(np.uint64) // np.uint64(2)
        rewards = rng.integers(0, 4, 200).astype(np.float32)
        made = PromptRecords(np.arange(200), prompts, rewards)
        found = group_by_prompt(made, size, singles)
        assert found.members.tolist() == by_hand(prompts, rewards, size, singles)
        assert found.num_prompts == len(set(prompts.tolist()))
        every = by_hand(prompts, rewards, size, "keep")
        assert found.num_singles == sum(group[1] < 0 for group in every)
        assert found.num_dropped == len(every) - len(found.members)
        both = end_to_end([found.members, found.members[:3]], [200, 200])
        moved = [[m if m < 0 else m + 200 for m in g] for g in found.members.tolist()]
        assert both.tolist() == found.members.tolist() + moved[:3]


def test_nothing_left_is_an_error():
    with pytest.raises(DataError, match="none of the 2 prompts has more than one"):
        group_by_prompt(records([0, 1], [0.0, 1.0]), 2, "drop")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """30 prompts; the n-th has 1 + n % 3 responses, each named in its text."""
    path = tmp_path_factory.mktemp("groups") / "logs.jsonl"
    lines = [
        {"prompt": f"say {n}", "response": f"{n}/{k}", "reward": float((k * 7) % 3)}
        for n in range(30)
        for k in range(1 + n % 3)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return register_feedback_task(
        "grouped_logs", JsonlSource({"train": path}), vocabulary="byte"
    ).name


def text(tokens):
    """Of bytes, the end-of-text token left out."""
    return (tokens[:-1] - 3).astype(np.uint8).tobytes().decode()


def texts(batch):
    """(prompt, its responses and rewards) of every group of a batch."""
    size = batch["rewards"].shape[1] // batch["group_weights"].shape[1]
    found = []
    for row, group in np.argwhere(batch["group_weights"] > 0):
        own = batch["encoder_segment_ids"][row] == group + 1
        prompt = text(batch["encoder_input_tokens"][row][own])
        responses = []
        for slot in range(group * size, (group + 1) * size):
            if batch["trajectory_weights"][row, slot]:
                own = batch["decoder_segment_ids"][row] == slot + 1
                response = text(batch["decoder_target_tokens"][row][own])
                responses.append((response, float(batch["rewards"][row, slot])))
        found.append((prompt, responses))
    return found


@pytest.mark.parametrize("pack", [False, True])
def test_batches_hold_every_group_once_best_first(task, pack):
    config = DatasetConfig(
        task, LENGTHS, batch_size=4, num_epochs=1, pack=pack, group_size=3
    )
    found = dict(group for batch in config.batches() for group in texts(batch))
    assert len(found) == 30
    for n in range(30):
        wanted = sorted(
            ((f"{n}/{k}", float((k * 7) % 3)) for k in range(1 + n % 3)),
            key=lambda pair: -pair[1],
        )
        assert found[f"say {n}"] == wanted
    assert config.facts()[task]["groups"]["groups of one response"] == 10


def test_a_prompt_of_more_responses_than_a_group_holds_has_several(task):
    config = DatasetConfig(
        task,
        LENGTHS,
        batch_size=4,
        num_epochs=1,
        group_size=2,
        single_responses="drop",
    )
    found = [group for batch in config.batches() for group in texts(batch)]
    assert len(found) == 20  # ten prompts of two, ten of three cut to two and one
    assert all(len(responses) == 2 for _, responses in found)


@pytest.mark.parametrize("pack", [False, True])
def test_reading_goes_on_behind_any_batch(task, pack):
    config = DatasetConfig(task, LENGTHS, batch_size=3, pack=pack, group_size=3)
    stream = config.batches()
    first = [next(stream) for _ in range(9)]
    start = tuple(first[4]["next_position"].tolist())
    again = config.batches(start=start)
    assert_same_batches([next(again) for _ in range(4)], first[5:])


def test_one_pass_for_a_cache_is_not_grouped(task):
    config = DatasetConfig(task, LENGTHS, group_size=2, single_responses="drop")
    batches = list(config.one_pass(pack=True).batches())
    assert "group_weights" not in batches[0]
    assert sum(batch["trajectory_weights"].sum() for batch in batches) == 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_size": 1}, "makes no groups"),
        ({"group_size": 2.5}, "group_size = 2.5 must be a whole number"),
        ({"single_responses": "drop"}, "has no effect without groups"),
        ({"group_size": 2, "single_responses": "leave"}, "use 'keep' or 'drop'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DatasetConfig("any", LENGTHS, **settings)
