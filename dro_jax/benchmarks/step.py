"""A train step of packed DRO-V beside a large matrix product on the same cores."""

import dataclasses

import jax
import jax.numpy as jnp

from dro_jax.benchmarks import step_profile, workload
from dro_jax.benchmarks.packing import Epoch
from dro_jax.benchmarks.timing import Figure, Figures, in_turn, ratio
from dro_jax.models import flops
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROV

SIDES = (2048, 3072)  # of the square matrices; the faster is the peak
LAYERS = 4
_STEPS = 3


def measure(rounds: int) -> Figures:
    """Model FLOPs a second, and the share of what the product reaches in that round.

    DRO-V with a value head on the policy and a cached reference, 4 packed rows of 512
    prompt and 256 response tokens, a `mini` T5 with 4 + 4 layers, the paper's optimiser.
    FLOPs are those of `dro_jax.models.flops`: attention over whole squares, what is
    masked too, so that a step which leaves blocks out has a higher share. The profile
    says, in processor time of one more run, where a step's time goes.
    """
    network = dataclasses.replace(
        workload.MINI, num_encoder_layers=LAYERS, num_decoder_layers=LAYERS
    )
    run = workload.plan(
        DROV(), network=network, value=ValueConfig(network="shared_head")
    )
    given = workload.batches(run, _STEPS)
    steps = workload.steps(run, given[0])
    trainer = workload.Trainer(steps)
    products = {side: _product(side) for side in SIDES}
    fastest = max(SIDES, key=lambda side: _rate(products[side], side))
    peak_seconds, seconds = in_turn(
        products[fastest], lambda: trainer.run(given), rounds
    )
    step_flops = flops.train_step_flops(run.model, given[0], frozen_copy=False)
    peaks = [2 * fastest**3 / time for time in peak_seconds]
    rates = [_STEPS * step_flops / time for time in seconds]
    epoch = Epoch.read(pack=True)
    rows = _STEPS * workload.ROWS
    per_row = epoch.trajectories / epoch.rows
    return {
        "step.share_of_peak": ratio(rates, peaks),
        "step.gflops_per_second": Figure.of([rate / 1e9 for rate in rates]),
        "step.peak_gflops_per_second": Figure.of([peak / 1e9 for peak in peaks]),
        "step.trajectories_per_second": Figure.of(
            [rows * per_row / time for time in seconds]
        ),
        "step.gflop_a_trajectory": Figure.exact(
            step_flops / workload.ROWS / per_row / 1e9
        ),
    } | step_profile.measure(steps, lambda: trainer.run(given))


def _product(side: int):
    matrix = jax.random.normal(jax.random.key(0), (side, side))
    multiply = jax.jit(jnp.dot)
    return lambda: jax.block_until_ready(multiply(matrix, matrix))


def _rate(product, side: int) -> float:
    seconds, _ = in_turn(product, lambda: None, 3)
    return 2 * side**3 / min(seconds)
