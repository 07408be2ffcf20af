"""Train steps of packed DRO-V beside a large matrix product on the same cores."""

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
# Responses that share a prompt, under the names of their figures: HHA has two for most.
_WAYS = {"": None, "_shared_prompts": 2}


def measure(rounds: int) -> Figures:
    """Model FLOPs a second, and the share of what the product reaches in that round.

    DRO-V with a value head on the policy and a cached reference, 4 packed rows of 512
    prompt and 256 response tokens, a `mini` T5 with 4 + 4 layers, the paper's optimiser,
    on all devices that divide the rows; once as records come, and once with prompts that
    two responses share, in rows of 512 prompt and 512 response tokens. FLOPs are those
    of `dro_jax.models.flops`: attention over whole squares, what is masked too, so that
    a step which leaves blocks out has a higher share. The profile says, in processor
    time of one more run, where a step's time goes.
    """
    trained = {name: _Steps(group_size) for name, group_size in _WAYS.items()}
    products = {side: _product(side) for side in SIDES}
    fastest = max(SIDES, key=lambda side: _rate(products[side], side))
    peak_seconds, *seconds = in_turn(
        products[fastest], *(steps.run for steps in trained.values()), rounds=rounds
    )
    peaks = [2 * fastest**3 / time for time in peak_seconds]
    figures = {"step.peak_gflops_per_second": Figure.of([x / 1e9 for x in peaks])}
    for (name, steps), times in zip(trained.items(), seconds, strict=True):
        figures |= {
            f"step.{figure}{name}": found
            for figure, found in steps.figures(times, peaks).items()
        }
    return figures | trained[""].profile()


class _Steps:
    """Some steps of one way to lay out the data."""

    def __init__(self, group_size: int | None):
        network = dataclasses.replace(
            workload.MINI, num_encoder_layers=LAYERS, num_decoder_layers=LAYERS
        )
        counts = range(1, jax.device_count() + 1)
        devices = max(n for n in counts if workload.ROWS % n == 0)
        plan = workload.plan(
            DROV(),
            group_size=group_size,
            value=ValueConfig(network="shared_head"),
            network=network,
            devices=devices,
        )
        self._batches = workload.batches(plan, _STEPS)
        self._steps = workload.steps(plan, self._batches[0])
        self._trainer = workload.Trainer(self._steps)
        self._flops = flops.train_step_flops(
            plan.model, self._batches[0], frozen_copy=False
        )
        per_row = Epoch.read(plan.data.train).trajectories_per_row
        self._trajectories = workload.ROWS * per_row

    def run(self) -> None:
        self._trainer.run(self._batches)

    def figures(self, seconds: list[float], peaks: list[float]) -> Figures:
        """Of runs that took so long, beside the products' FLOPs a second."""
        rates = [_STEPS * self._flops / time for time in seconds]
        return {
            "share_of_peak": ratio(rates, peaks),
            "gflops_per_second": Figure.of([rate / 1e9 for rate in rates]),
            "trajectories_per_second": Figure.of(
                [_STEPS * self._trajectories / time for time in seconds]
            ),
            "gflop_a_trajectory": Figure.exact(self._flops / self._trajectories / 1e9),
        }

    def profile(self) -> Figures:
        return step_profile.measure(self._steps, self.run)


def _product(side: int):
    matrix = jax.random.normal(jax.random.key(0), (side, side))
    multiply = jax.jit(jnp.dot)
    return lambda: jax.block_until_ready(multiply(matrix, matrix))


def _rate(product, side: int) -> float:
    seconds, _ = in_turn(product, lambda: None, rounds=3)
    return 2 * side**3 / min(seconds)
