"""Rounds on disk, and their samples in an order."""

import numpy as np
import pytest

from dro_jax.errors import CheckpointError
from dro_jax.training.online.needed_rounds import needed
from dro_jax.training.online.round_files import RoundFiles
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.run_progress import RunProgress

SAMPLES = RoundSamples(
    places=np.array([4, 4, 7]),
    tokens=np.array([11, 12, 1, 21, 31, 32], np.int32),
    lengths=np.array([3, 1, 2], np.int32),
    cut=np.array([False, True, True]),
    rewards=np.array([0.5, -1.0, 2.0], np.float32),
    logprobs=np.array([-9.0, -3.0, -5.0], np.float32),
    fields={
        "advantages": np.array([1.0, 2.0, 3.0], np.float32),
        "old_token_logprobs": -np.arange(6, dtype=np.float32),
    },
    step=12,
)


def test_a_round_is_read_as_it_was_written(tmp_path):
    files = RoundFiles(tmp_path, "settings")
    files.write(3, SAMPLES)
    found = files.read(3)
    assert found.step == 12
    for name in ("places", "tokens", "lengths", "cut", "rewards", "logprobs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(SAMPLES, name))
    for name, values in SAMPLES.fields.items():
        np.testing.assert_array_equal(found.fields[name], values)


def test_what_is_not_the_runs_is_refused(tmp_path):
    RoundFiles(tmp_path, "settings").write(3, SAMPLES)
    with pytest.raises(CheckpointError, match="other settings"):
        RoundFiles(tmp_path, "others").read(3)
    path = tmp_path / "round_000003.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        RoundFiles(tmp_path, "settings").read(3)


def test_only_rounds_that_are_needed_are_kept(tmp_path):
    files = RoundFiles(tmp_path, "settings")
    for number in range(4):
        files.write(number, SAMPLES)
    (tmp_path / "mine.npz").touch()
    # A save that is still on its way to the disk is in the second round.
    saving = RunProgress(samples={"round": 1, "moved": {"step": 8, "digest": ""}})
    rounds, references = needed(tmp_path, 1, saving)
    assert (rounds, references) == ({1, 2}, {8})
    files.keep_only(rounds)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["mine.npz", "round_000001.npz", "round_000002.npz"]


def test_samples_are_taken_with_their_tokens():
    found = SAMPLES.take(np.array([2, 0]))
    assert found.tokens.tolist() == [31, 32, 11, 12, 1]
    assert found.fields["advantages"].tolist() == [3.0, 1.0]
    assert found.fields["old_token_logprobs"].tolist() == [-4.0, -5.0, 0.0, -1.0, -2.0]
    dense = found.dense(found.fields["old_token_logprobs"], 4)
    assert dense.tolist() == [[-4.0, -5.0, 0.0, 0.0], [0.0, -1.0, -2.0, 0.0]]
