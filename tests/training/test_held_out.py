"""Held-out figures are those of the split: no batch size, packing or mesh shows in them."""

import dataclasses
import functools
import types

import jax
import numpy as np
import optax
import pytest
import small
from prompt_rewards import PromptRewards

from dro_jax import metrics, objectives
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import BCO, DRO, DROP, KTO, PMPO, APOZero
from dro_jax.objectives.interface import Losses, Needs, Objective
from dro_jax.training.before.mismatched_pairs import with_mismatched_prompts
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.held_out import HeldOut
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.sharding import MeshConfig

SPLIT = PromptRewards(num_prompts=23, noise=0.5, seed=3)
BASE = FeedbackModel(network=small.NETWORK, objective=DROP(0.5))
COUPLED = {
    "dro_p": DROP(0.5),
    "kto": KTO(class_weights=(1.0, 1.3)),
    "bco": BCO(),
    "pmpo": PMPO(0.5),
    "apo_zero": APOZero("batch_mean"),
}
LAYOUTS = {
    "rows of 2": ({"batch_size": 2}, MeshConfig(data=1)),
    "one batch": ({"batch_size": 64}, MeshConfig(data=1)),
    "packed": ({"batch_size": 4, "pack": True}, MeshConfig(data=1)),
    "packed on 8 devices": ({"batch_size": 8, "pack": True}, MeshConfig()),
}


@functools.cache
def params_of(model):
    """Policy and reference, on the host."""
    key = jax.random.key
    example = next(SPLIT.batches())
    make = jax.jit(lambda key: model.init(key, example)[0])
    return jax.device_get((make(key(1)), make(key(0))))


def evaluate(layout, models, running=()):
    """Metrics of each model; all share the programs of the first."""
    changes, mesh = LAYOUTS[layout]
    data = PreparedData(dataclasses.replace(SPLIT, **changes), mismatched=True)
    first, *_ = models
    steps = MeshSteps(
        first,
        optax.sgd(0.1),
        mesh.build(),
        next(data.dataset.batches()),
        key=jax.random.key(0),
    )
    params, reference = params_of(first)
    state = types.SimpleNamespace(params=params, running=dict(running))
    reference = FeedbackModel.policy_params(reference)
    return [
        HeldOut(model, steps, data, reference)(state, lambda: False) for model in models
    ]


@functools.cache
def figures(layout):
    models = [BASE.with_objective(objective) for objective in COUPLED.values()]
    return dict(zip(COUPLED, evaluate(layout, models), strict=True))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "one batch"])
def test_figures_do_not_depend_on_batches(layout):
    for name, wanted in figures("one batch").items():
        found = figures(layout)[name]
        assert found.keys() == wanted.keys()
        for metric in found.keys() - {"eval/padding_fraction"}:
            np.testing.assert_allclose(
                found[metric], wanted[metric], rtol=1e-5, atol=1e-5, err_msg=metric
            )


@functools.cache
def by_record():
    """Log-probabilities of policy and reference, and rewards, by a plain forward pass."""
    batch = next(dataclasses.replace(SPLIT, batch_size=64).batches())
    del batch["record_ids"]
    present = batch["trajectory_weights"][:, 0] > 0
    logprobs = [
        np.asarray(BASE.logprobs(p, batch))[present, 0] for p in params_of(BASE)
    ]
    return *logprobs, batch["rewards"][present, 0]


def test_the_loss_is_that_of_the_whole_split():
    policy, reference, rewards = by_record()
    found = figures("rows of 2")
    assert found["dro_p"]["eval/num_trajectories"] == len(rewards) == 46
    half_variance = 0.5 * np.var(rewards - 0.5 * (policy - reference))
    np.testing.assert_allclose(found["dro_p"]["eval/loss"], half_variance, rtol=1e-5)
    good = rewards > rewards.mean()
    losses = objectives.apo_zero(policy, reference, good, beta=0.1)
    np.testing.assert_allclose(found["apo_zero"]["eval/loss"], losses.mean(), rtol=1e-5)
    good = rewards > 0
    ups_and_downs = 0.25 * policy[~good].mean() - 0.75 * policy[good].mean()
    np.testing.assert_allclose(
        evaluate("rows of 2", [BASE.with_objective(PMPO(beta=0.0))])[0]["eval/loss"],
        ups_and_downs,
        rtol=1e-5,
    )


def test_kto_s_reference_point_is_over_pairs_of_the_split():
    batch = next(dataclasses.replace(SPLIT, batch_size=64).batches())
    batch = with_mismatched_prompts(batch)
    others = {"encoder_input_tokens": batch.pop("mismatched_encoder_input_tokens")}
    weights = batch.pop("mismatched_weights")
    del batch["record_ids"]
    log_ratios = np.asarray(
        BASE.log_ratios(params_of(BASE)[0], batch | others, params_of(BASE)[1])
    )
    wanted = log_ratios[weights > 0].mean()
    assert wanted > 0.01
    for layout in ("rows of 2", "packed"):
        found = figures(layout)["kto"]["eval/kl/mismatched"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_a_run_s_shift_is_used_as_it_stands():
    policy, reference, rewards = by_record()
    running = {"shift": np.float32(0.3), "batches": np.float32(4)}
    model = BASE.with_objective(BCO())
    (found,) = evaluate("rows of 2", [model], running)
    losses = objectives.bco(policy, reference, rewards > 0, 0.3, beta=0.1)
    np.testing.assert_allclose(found["eval/loss"], losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(found["eval/shift"], 0.3, rtol=1e-6)
    running = {"shift": np.float32(0), "batches": np.float32(0)}
    (found,) = evaluate("rows of 2", [model], running)
    np.testing.assert_allclose(
        found["eval/shift"], figures("rows of 2")["bco"]["eval/shift"], rtol=1e-6
    )


def test_a_value_of_the_batch_is_one_of_the_split():
    model = FeedbackModel(
        network=small.NETWORK,
        objective=DRO(0.5),
        value=ValueConfig(network="policy_logits", granularity="batch"),
    )
    (rows,) = evaluate("rows of 2", [model])
    (packed,) = evaluate("packed", [model])
    for name in ("eval/loss", "eval/value/mean", "eval/residual"):
        np.testing.assert_allclose(rows[name], packed[name], rtol=1e-5)
    # One value for all explains nothing.
    np.testing.assert_allclose(rows["eval/value/explained_variance"], 0, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class _Centred(Objective):
    """Values of each token, about their mean over all trajectories."""

    needs = Needs(value=True, whole_batch=True)

    def __call__(self, trajectories):
        values = trajectories.trajectory_values
        mean = (values * trajectories.weights).sum() / trajectories.weights.sum()
        return Losses(policy=(values - mean) ** 2)


def test_values_of_tokens_keep_their_owners():
    value = ValueConfig(network="policy_logits", granularity="token")
    model = FeedbackModel(network=small.NETWORK, objective=_Centred(), value=value)
    (rows,) = evaluate("rows of 2", [model])
    (packed,) = evaluate("packed", [model])
    batch = next(dataclasses.replace(SPLIT, batch_size=64).batches())
    scored = model.score(params_of(model)[0], batch)["values"]
    wanted = np.var(np.asarray(scored)[batch["trajectory_weights"] > 0])
    for found in (rows, packed):
        np.testing.assert_allclose(found["eval/loss"], wanted, rtol=1e-4)


def test_names_are_those_of_a_step():
    names = figures("one batch")["dro_p"].keys()
    batch = next(dataclasses.replace(SPLIT, batch_size=2).batches())
    del batch["record_ids"]
    params, reference = params_of(BASE)
    options = {"reference_params": reference}
    _, metrics = jax.eval_shape(lambda: BASE.loss(params, batch, **options))
    assert names == {f"eval/{name}" for name in metrics}


ONE_HOST = {"partitioner": types.SimpleNamespace(shard=lambda num_rows: (0, 1))}


def test_an_evaluation_that_is_stopped_gives_nothing():
    data = PreparedData(dataclasses.replace(SPLIT, batch_size=64))
    steps = types.SimpleNamespace(gather=lambda *arguments: (None, {}), **ONE_HOST)
    state = types.SimpleNamespace(params=None, running={})
    evaluation = HeldOut(BASE, steps, data, None)
    assert evaluation(state, lambda: True) == {}


class _OnDevice:
    """A number that notes when it is brought to the host."""

    def __init__(self, value, brought):
        self._value, self._brought = value, brought

    def __array__(self, *_):
        self._brought.append(self._value)
        return np.float32(self._value)


def test_sums_are_exact_and_the_device_is_one_batch_ahead():
    """In float32 the two small batches would leave nothing in the sum."""
    brought, ahead = [], []
    totals = [1e8, 1.0, 2.0]

    def evaluate(params, batch, reference, shard):
        ahead.append(len(ahead) - len(brought))
        total = _OnDevice(totals[len(ahead) - 1], brought)
        return {"num_tokens": metrics.Sum(total)}

    split = types.SimpleNamespace(
        batches=lambda start, shard: iter([{}] * 3), batch_size=8
    )
    data = PreparedData(split)
    model = BASE.with_objective(DRO(0.5))
    steps = types.SimpleNamespace(evaluate=evaluate, **ONE_HOST)
    evaluation = HeldOut(model, steps, data, None)
    found = evaluation(types.SimpleNamespace(params=None), lambda: False)
    assert found == {"eval/num_tokens": 1e8 + 3}
    assert ahead == [0, 1, 1]
