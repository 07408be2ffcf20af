"""A reward model under `dro-jax train`: what it learns, resumes, starts from and leaves."""

import dataclasses
import functools
import json
import types

import jax
import numpy as np
import optax
import pytest
import small
from prompt_rewards import PromptRewards
from training_runs import DATA, HELD_OUT, run

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import formats
from dro_jax.interop.reward_model_files import open_reward_model
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import RewardRegression
from dro_jax.score_agreement import agreement
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.checkpoints import CheckpointConfig, load_params
from dro_jax.training.held_out import HeldOut
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.sharding import MeshConfig

BEST = CheckpointConfig(period=5, best_metric="eval/pair_accuracy", best_mode="max")
# Large enough for pairs of one prompt.
JUDGES = dataclasses.replace(HELD_OUT, num_records=48)
SPLIT = PromptRewards(num_prompts=23, noise=0.5, seed=3)
LAYOUTS = {
    "rows of 2": ({"batch_size": 2}, MeshConfig(data=1)),
    "one batch": ({"batch_size": 64}, MeshConfig(data=1)),
    "packed on 8 devices": ({"batch_size": 8, "pack": True}, MeshConfig()),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward_model")
    run(
        folder,
        RewardRegression(),
        train_eval_dataset_cfg=JUDGES,
        checkpoint_cfg=BEST,
        steps=20,
    )
    return folder


def params_of(folder):
    return {n: x.read() for n, x in open_reward_model(folder).params.items()}


def lines(folder):
    return [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_says_how_well(trained):
    first, *_, last = lines(trained)
    assert last["loss"] < first["loss"]
    assert {"eval/pearson", "eval/spearman", "eval/pair_accuracy"} <= last.keys()
    assert last["eval/num_pairs"] > 0 and "logps/policy" not in last


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(trained, tmp_path):
    for steps in (10, 20):
        run(
            tmp_path,
            RewardRegression(),
            train_eval_dataset_cfg=JUDGES,
            checkpoint_cfg=BEST,
            steps=steps,
        )
    wanted = params_of(trained)
    for name, found in params_of(tmp_path).items():
        np.testing.assert_array_equal(found, wanted[name], err_msg=name)
    assert {k: x for k, x in lines(tmp_path)[-1].items() if k.startswith("eval/")} == {
        k: x for k, x in lines(trained)[-1].items() if k.startswith("eval/")
    }


def test_a_metric_that_is_not_reported_is_refused(tmp_path):
    wrong = dataclasses.replace(BEST, best_metric="eval/pair_acuracy")
    with pytest.raises(ConfigError, match="Near names: eval/pair_accuracy"):
        run(
            tmp_path,
            RewardRegression(),
            train_eval_dataset_cfg=JUDGES,
            checkpoint_cfg=wrong,
        )


def test_its_encoder_is_that_of_the_checkpoint(tmp_path, reference_dir):
    state = run(
        tmp_path,
        RewardRegression(),
        steps=1,
        initial_checkpoint_path=str(reference_dir),
        optimizer=types.SimpleNamespace(
            build=lambda: optax.sgd(0.0), rates=lambda step, value: {}
        ),
    )
    reference = load_params(reference_dir)
    for name in ("encoder", "token_embedder"):
        jax.tree.map(np.testing.assert_array_equal, state.params[name], reference[name])
    assert state.params.keys() == {"encoder", "token_embedder", "reward"}


def test_it_is_no_policy(trained):
    with pytest.raises(CheckpointError, match="holds a reward model"):
        formats.open_model(trained)


def test_what_it_leaves_is_read_back(trained):
    stored = open_reward_model(trained)
    assert stored.settings.network == small.NETWORK
    assert stored.settings.lengths == {
        "inputs": next(DATA.batches())["encoder_input_tokens"].shape[1],
        "targets": next(DATA.batches())["decoder_target_tokens"].shape[1],
    }
    assert stored.params["reward/head/kernel"].shape == (small.NETWORK.emb_dim, 1)
    assert stored.fingerprint() != open_reward_model(trained, 15).fingerprint()


def test_a_folder_without_it_is_named(reference_dir):
    with pytest.raises(CheckpointError, match="is no reward model: it has no"):
        open_reward_model(reference_dir)


@functools.cache
def figures(layout):
    changes, mesh = LAYOUTS[layout]
    model = FeedbackModel(network=small.NETWORK, objective=RewardRegression())
    data = PreparedData(dataclasses.replace(SPLIT, **changes))
    example = next(data.dataset.batches())
    steps = MeshSteps(
        model, optax.sgd(0.1), mesh.build(), example, key=jax.random.key(0)
    )
    params = small.init(model, next(SPLIT.batches()))
    state = types.SimpleNamespace(params=jax.device_get(params), running={})
    return HeldOut(model, steps, data, None)(state, lambda: False)


def test_figures_are_those_of_the_split_whatever_its_batches():
    model = FeedbackModel(network=small.NETWORK, objective=RewardRegression())
    batch = next(dataclasses.replace(SPLIT, batch_size=64).batches())
    present = batch["trajectory_weights"][:, 0] > 0
    ids = batch.pop("record_ids")[present, 0, 1]
    params = small.init(model, next(SPLIT.batches()))
    scores = jax.jit(model.row_outputs)(params, batch).scores
    wanted = agreement(
        np.asarray(scores)[present, 0], batch["rewards"][present, 0], ids // 2
    )
    assert wanted.num_pairs > 15
    for layout in LAYOUTS:
        found = figures(layout)
        for name in ("pearson", "spearman", "pair_accuracy", "num_pairs"):
            np.testing.assert_allclose(
                found[f"eval/{name}"], getattr(wanted, name), rtol=1e-5, err_msg=layout
            )
