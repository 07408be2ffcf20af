"""Scores from the folder of a run: alike in any batch, and those of the network itself."""

import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from reward_models import NETWORK, change, make

from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.interop.reward_model_files import open_reward_model
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import RewardRegression
from dro_jax.rewards.reward_model import RewardModel

PROMPTS = ["why", "a longer question " * 4, "x", "how long?", "why", "é\n\n"]
RESPONSES = ["", "because", "an answer " * 3, "a" * 99, "so", "no"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("reward_model")
    make(made)
    return made


@pytest.fixture(scope="module")
def scored(folder):
    reward = RewardModel(folder, batch_size=8)
    return reward, reward(PROMPTS, RESPONSES).total


def tokens(texts, length, cut):
    rows = np.zeros((len(texts), length), np.int32)
    for row, text in zip(rows, texts, strict=True):
        ids = [3 + byte for byte in text.encode()]
        whole = cut(ids + [1], length)
        row[: len(whole)] = whole
    return rows


def test_scores_are_the_network_s(folder, scored):
    # Prompts lose their beginning, responses their end, and with it the end's mark.
    prompts = tokens(PROMPTS, 48, lambda ids, n: ids[-n:])
    responses = tokens(RESPONSES, 40, lambda ids, n: ids[:n])
    batch = {
        "encoder_input_tokens": prompts,
        "decoder_target_tokens": responses,
        "trajectory_weights": np.ones((len(PROMPTS), 1), np.float32),
    }
    model = FeedbackModel(network=NETWORK, objective=RewardRegression())
    leaves = {n: x.read() for n, x in open_reward_model(folder).params.items()}
    params = unflatten_dict(leaves, sep="/")
    wanted = jax.jit(lambda p, b: model._networks.scores(p, b))(params, batch)
    np.testing.assert_allclose(scored[1], wanted[:, 0], atol=1e-5)
    assert np.ptp(scored[1]) > 0.1


def test_batches_and_neighbours_do_not_show(folder, scored):
    reward, wanted = scored
    order = np.array([3, 0, 5, 1, 4, 2])
    found = reward(*([texts[i] for i in order] for texts in (PROMPTS, RESPONSES)))
    np.testing.assert_allclose(found.total, wanted[order], atol=1e-6)
    alone = reward(PROMPTS[1:2], RESPONSES[1:2]).total
    np.testing.assert_allclose(alone, wanted[1:2], atol=1e-6)
    told = {}
    reward.score(
        PROMPTS,
        RESPONSES,
        lambda rows, part: told.update(zip(rows, part.total, strict=True)),
    )
    np.testing.assert_array_equal([told[i] for i in range(6)], wanted)
    larger = RewardModel(folder, batch_size=16)
    np.testing.assert_allclose(larger(PROMPTS, RESPONSES).total, wanted, atol=1e-6)
    assert larger.fingerprint == reward.fingerprint
    assert reward([], []).total.shape == (0,)


@pytest.mark.parametrize(
    "changes",
    [{"lengths": {"inputs": 48, "targets": 41}}, {"reward": {"pool": "response_mean"}}],
)
def test_the_fingerprint_is_of_all_that_scores_depend_on(
    folder, scored, tmp_path, changes
):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    assert RewardModel(copied).fingerprint == scored[0].fingerprint
    change(copied, **changes)
    assert RewardModel(copied).fingerprint != scored[0].fingerprint


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"version": 2},
            CheckpointError,
            "settings.json cannot be read .*another vers",
        ),
        ({"reward": {"pool": "last"}}, CheckpointError, "pool = 'last'"),
        ({"reward": {"pool": "attention"}}, ConfigError, "missing reward/pool/"),
        ({"vocabulary": {"kind": "other", "name": "mine.V"}}, DataError, "mine.V"),
    ],
)
def test_what_does_not_fit_is_refused(folder, tmp_path, changes, error, message):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    change(copied, **changes)
    with pytest.raises(error, match=message):
        RewardModel(copied)(["a"], ["b"])


def test_settings_are_checked(folder):
    with pytest.raises(ConfigError, match="REWARD_MODEL_DIR. is not set"):
        RewardModel("")
    with pytest.raises(ConfigError, match="batch_size is 0"):
        RewardModel(folder, batch_size=0)
    with pytest.raises(CheckpointError, match="no checkpoint at .*checkpoint_7"):
        RewardModel(folder, step=7)
