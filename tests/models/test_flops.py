"""Counted arithmetic against the products of the traced step, and against XLA's count."""

import dataclasses
import math

import jax
import numpy as np
import pytest
import small
from jax.extend import core

from dro_jax.models import flops
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DPO, DROP, DROV, KTO, NLL, RewardRegression

# Two layers of different sizes everywhere, so that no factor can stand for another.
NETWORK = dataclasses.replace(
    small.NETWORK, num_encoder_layers=2, num_decoder_layers=3, head_dim=4
)
TRUNK = dataclasses.replace(NETWORK, emb_dim=24, mlp_activations=("relu",))


def products(jaxpr):
    """FLOPs of all matrix products of a traced function, loops counted as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            size = math.prod(equation.outvars[0].aval.shape)
            total += 2 * size * math.prod(left[axis] for axis in contracted)
        times = (
            equation.params.get("length", 1) if "scan" in str(equation.primitive) else 1
        )
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if isinstance(inner, core.Jaxpr):
                total += times * products(inner)
    return total


def test_a_step_of_t5_large():
    model = FeedbackModel(network=small.T5_LARGE, objective=NLL())
    batch = {
        "encoder_input_tokens": np.zeros((1, 512)),
        "decoder_target_tokens": np.zeros((1, 128)),
        "trajectory_weights": np.zeros((1, 1)),
    }
    count = flops.train_step_flops(model, batch, frozen_copy=False)
    # By hand, 24 layers of each stack, D = J = 1024, F = 2816, forward · 3:
    encoder = 24 * (2 * 512 * (4 * 1024**2 + 3 * 1024 * 2816) + 4 * 512**2 * 1024)
    decoder = 24 * (
        2 * 128 * (6 * 1024**2 + 3 * 1024 * 2816)
        + 2 * 512 * 2 * 1024**2
        + 4 * 128 * (128 + 512) * 1024
    )
    assert count == 3 * (encoder + decoder + 2 * 128 * 1024 * 32128)
    assert round(count / 1e12, 3) == 1.504
    # What it was taken for: every token through both stacks.
    assert 6 * 783_150_080 * (512 + 128) / count == pytest.approx(2.0, abs=0.01)


VALUES = {
    "separate": ValueConfig(),
    "encoder_pool": ValueConfig(readout="encoder_pool"),
    "token": ValueConfig(granularity="token"),
    "trunk": ValueConfig(trunk=TRUNK),
    "shared_head": ValueConfig(network="shared_head", trunk_gradient=True),
    "policy_logits": ValueConfig(network="policy_logits"),
}


def batch_of(layout):
    items = small.examples()
    if layout == "grouped":
        batch = small.pack_groups([[group] for group in small.groups()], 3)
    else:
        batch = small.pack([items[:3], items[3:]], input_length=15)
    mismatched = {
        f"mismatched_{name}": x
        for name, x in batch.items()
        if name.startswith("encoder")
    }
    return batch | mismatched | {"mismatched_weights": batch["rewards"]}


def traced(model, batch, reference):
    """A step's gradient, traced, and the shapes of its arguments."""
    params, _ = jax.eval_shape(model.init, jax.random.key(0), batch)
    frozen = model.policy_params(params) if reference else None

    def gradient(params, batch, frozen):
        return jax.grad(lambda p: model.loss(p, batch, reference_params=frozen)[0])(
            params
        )

    return jax.jit(gradient).trace(params, batch, frozen)


def assert_counted(objective, batch, *, value=None, frozen_copy=True):
    """The products of the traced step are those that are counted.

    All but sums over each trajectory's tokens and the relative biases' gradient, which
    are products too: below a fiftieth where a layer is 16 wide.
    """
    if not frozen_copy:
        batch = batch | {"reference_logprobs": batch["rewards"]}
    model = FeedbackModel(network=NETWORK, objective=objective, value=value)
    count = flops.train_step_flops(model, batch, frozen_copy=frozen_copy)
    found = products(traced(model, batch, frozen_copy).jaxpr.jaxpr)
    assert count <= found < 1.02 * count


@pytest.mark.parametrize("value", VALUES)
def test_each_value_estimate(value):
    # Where the value's network reads the prompt alone, once for a group's responses.
    layout = "grouped" if value in ("encoder_pool", "trunk") else "packed"
    assert_counted(DROV(0.5), batch_of(layout), value=VALUES[value], frozen_copy=False)


@pytest.mark.parametrize(
    ("objective", "layout", "frozen_copy"),
    [
        (NLL(), "packed", False),
        (DROP(0.5), "packed", True),
        (KTO(class_weights=(1.0, 1.0)), "packed", True),
        (DPO(), "grouped", False),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, NLL | DROP | KTO | DPO) else str(x),
)
def test_each_kind_of_step(objective, layout, frozen_copy):
    assert_counted(objective, batch_of(layout), frozen_copy=frozen_copy)


@pytest.mark.parametrize("layout", ["packed", "grouped"])
def test_a_reward_model_s_step(layout):
    assert_counted(RewardRegression(), batch_of(layout), frozen_copy=False)


def test_xla_counts_no_more_than_a_hundredth_beside():
    # Of loops XLA counts one turn: one layer, attention and an output layer in one piece.
    network = dataclasses.replace(
        small.T5_LARGE,
        num_encoder_layers=1,
        num_decoder_layers=1,
        vocab_size=8000,
        attention="dense",
    )
    model = FeedbackModel(network=network, objective=NLL())
    length = {"encoder": 512, "decoder": 128}
    batch = {
        name: jax.ShapeDtypeStruct((1, length.get(name[:7], 1)), x.dtype)
        for name, x in small.unpacked(small.examples()).items()
    }
    counted = flops.train_step_flops(model, batch, frozen_copy=False)
    step = traced(model, batch, False).lower()
    assert counted < step.cost_analysis()["flops"] < 1.01 * counted
