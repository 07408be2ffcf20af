import numpy as np
import pytest

from dro_jax.data.inputs import Input, record_ids
from dro_jax.data.records import RecordReport
from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.prompts import digest, split_prompts


class Records:
    """A split in memory: prompts, responses, rewards."""

    def __init__(self, *rows):
        self._rows = rows
        self.rewards = np.array([reward for *_, reward in rows], np.float64)
        names = sorted({prompt for prompt, *_ in rows}, reverse=True)
        self.prompt_hashes = np.array([names.index(p) for p, *_ in rows], np.uint64)
        self.report = RecordReport("validation", len(rows), (), {})

    def __len__(self):
        return len(self._rows)

    def texts(self, positions, side):
        return [self._rows[i][side == "targets"] for i in positions]


RECORDS = Records(
    ("b", "bad", -1.0), ("a", "only", -1.0), ("b", "good", 1.0), ("c", "x", 0.5),
    ("b", "also good", 1.0), ("b", "good", 1.0),
)  # fmt: skip


def test_prompts_come_once_with_the_best_that_was_logged():
    found = split_prompts(RECORDS)
    assert [prompt.text for prompt in found] == ["b", "a", "c"]
    assert [prompt.references for prompt in found] == [
        ("good", "also good"), ("only",), ("x",)
    ]  # fmt: skip
    assert split_prompts(RECORDS, 2) == found[:2]


def test_a_prompt_s_id_is_of_its_text_alone():
    other = split_prompts(Records(("z", "", 0.0), ("b", "y", 0.0)))
    assert other[1].id == split_prompts(RECORDS)[0].id
    assert len(other[1].id) == 16 and int(other[1].id, 16) >= 0
    # As `dro-jax quickstart` has drawn its samples from the first.
    (expected,) = record_ids([Input({}, "b")])
    numbers = np.frombuffer(bytes.fromhex(other[1].id), ">i4")
    np.testing.assert_array_equal(numbers, expected)


def test_a_digest_tells_other_references_too():
    assert digest(split_prompts(RECORDS, 1)) == digest(split_prompts(RECORDS)[:1])
    other = split_prompts(Records(("b", "good", 1.0)))
    assert digest(other) != digest(split_prompts(RECORDS, 1))


def test_what_gives_no_prompts_is_refused():
    with pytest.raises(ConfigError, match="--num_prompts must be at least 1"):
        split_prompts(RECORDS, 0)
    with pytest.raises(DataError, match="'validation' has no records"):
        split_prompts(Records())
