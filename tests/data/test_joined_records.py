"""Records of several tasks end to end: by position, in any order, more than once."""

import numpy as np
import pytest

from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.joined_records import JoinedRecords

LENGTHS = {"inputs": 5, "targets": 3}
TEXTS = [("abcdef", "a"), ("a", "abcd"), ("abcd", "ab"), ("ab", "abc"), ("abc", "b")]


@pytest.fixture
def tasks(register):
    rows = [
        {"prompt": prompt, "response": response, "reward": i / 4}
        for i, (prompt, response) in enumerate(TEXTS)
    ]
    broken = {"prompt": "x", "response": "", "reward": 0}
    return [
        register([rows[0], broken, rows[1]], on_bad_record="drop"),
        register(rows[2:], reward_transform="clip(0, 0.9)"),
    ]


def tokens(text):
    return [byte + 3 for byte in text.encode()]


WHOLE = [
    ([*tokens("cdef"), 1], [*tokens("a"), 1], 1),
    ([*tokens("a"), 1], tokens("abc"), 2),
    ([*tokens("abcd"), 1], [*tokens("ab"), 1], 0),
    ([*tokens("ab"), 1], tokens("abc"), 2),
    ([*tokens("abc"), 1], [*tokens("b"), 1], 0),
]


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 4], [3, 0, 4, 0, 2], [1], [4], []])
def test_what_is_read_is_what_was_asked_for(tasks, positions):
    records = JoinedRecords(tasks, "train", LENGTHS)
    assert records.sizes == [2, 3]
    asked = np.array(positions, np.int64)
    for side, name in enumerate(("inputs", "targets")):
        wanted = [WHOLE[position][side] for position in positions]
        found = records.tokens(asked, name)
        assert found.values.tolist() == [token for text in wanted for token in text]
        assert found.lengths.tolist() == list(map(len, wanted))
        assert records.lengths(asked)[:, side].tolist() == list(map(len, wanted))
    fields = records.fields(asked)
    ids = [(tasks[0], 0), (tasks[0], 2), (tasks[1], 0), (tasks[1], 1), (tasks[1], 2)]
    ids = [[fingerprint(task.name), index] for task, index in ids]
    assert fields["record_ids"].tolist() == [ids[position] for position in positions]
    rewards = [0.0, 0.25, 0.5, 0.75, np.float32(0.9)]
    assert fields["rewards"].tolist() == [rewards[position] for position in positions]
    assert fields["truncated"].tolist() == [WHOLE[p][2] for p in positions]
    assert fields["trajectory_weights"].tolist() == [1] * len(positions)
    assert fields["rewards"].dtype == fields["trajectory_weights"].dtype == np.float32
    assert fields["record_ids"].dtype == fields["truncated"].dtype == np.int32
