"""Rounding of ℓ where policy and reference are one: what the step-zero check allows for."""

import dataclasses

import jax
import numpy as np
import optax

from dro_jax import metrics as metrics_lib
from dro_jax.batch_fields import device_fields
from dro_jax.benchmarks import workload
from dro_jax.benchmarks.timing import Figure, Figures, in_turn, ratio
from dro_jax.data.record_ids import join_ids
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import T5Config
from dro_jax.objectives import NLL, UNA
from dro_jax.training import optimizers, schedules
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_table import ReferenceTable
from dro_jax.training.mesh_steps import MeshSteps

_BATCHES, _TRAINED_FOR = 4, 30
_NETWORKS = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16_float32_residual": {"dtype": "bfloat16", "float32_residual": True},
    "bfloat16_logits": {"dtype": "bfloat16", "logits_dtype": "bfloat16"},
}
_LAYOUTS = {"packed": True, "unpacked": False}
_NAME = "logratio_noise"


def measure(rounds: int) -> Figures:
    """ℓ of train steps whose policy is the reference, in nats, and its cost.

    The policy is a mini T5 after a few steps of NLL. A cache is computed, as a run's is,
    on rows that are packed in the order of the file; steps read shuffled ones.
    """
    params = _reference()
    figures: Figures = {}
    runs = {}
    for network, settings in _NETWORKS.items():
        config = dataclasses.replace(workload.MINI, **settings)
        for layout, pack in _LAYOUTS.items():
            given = list(_batches(pack))
            table = _cache(config, params, given)
            plan = workload.plan(UNA(), pack=pack, network=config)
            steps = workload.steps(plan, plan.example(given[0]), optax.set_to_zero())
            for mode in ("cached", "frozen_copy"):
                batches = [
                    table.attach(batch) if mode == "cached" else batch
                    for batch in given
                ]
                found = _noise(steps, params, batches, mode == "frozen_copy")
                name = f"{_NAME}.{network}.{mode}.{layout}"
                figures |= {
                    f"{name}.{key}": Figure.exact(x) for key, x in found.items()
                }
            figures |= _per_token(
                f"{_NAME}.{network}.{layout}", config, params, table, given
            )
            if pack:
                runs[network] = _Runner(
                    steps, params, [table.attach(b) for b in given[:1]]
                )
    times = in_turn(runs["bfloat16"], runs["bfloat16_float32_residual"], rounds=rounds)
    figures[f"{_NAME}.float32_residual_cost"] = ratio(*reversed(times))
    return figures


class _Runner:
    """Steps on the same batches, timed."""

    def __init__(self, steps, params, batches):
        self._steps, self._batches = steps, batches
        self._state = _state(steps, params)

    def __call__(self) -> None:
        for batch in self._batches:
            self._state, _ = self._steps.train(self._state, batch, None)
        jax.block_until_ready(self._state.step)


def _batches(pack: bool):
    iterator = workload.dataset(pack=pack).batches()
    return (next(iterator) for _ in range(_BATCHES))


def _state(steps: MeshSteps, params):
    fresh = steps.start(None, jax.random.key(1))
    placed = jax.device_put(params, steps.layout.shardings)
    return dataclasses.replace(fresh, params=placed)


def _reference():
    """Parameters of a policy that has learnt which pieces are frequent."""
    config = optimizers.OptimizerConfig(
        optimizers.adafactor(),
        schedules.learning_rate_schedule(learning_rate=1e-2, warmup_steps=5),
    )
    plan = workload.plan(NLL())
    iterator = plan.data.train.batches()
    steps = workload.steps(plan, next(iterator), config.build())
    state = steps.start(None, jax.random.key(1))
    for _ in range(_TRAINED_FOR):
        state, _ = steps.train(state, next(iterator), None)
    return jax.device_get(state.params)


def _cache(config: T5Config, params, batches) -> ReferenceTable:
    """Log-probabilities of the batches' records, packed as a cache's pass packs them."""
    ids = np.concatenate(
        [join_ids(b["record_ids"])[b["trajectory_weights"] > 0] for b in batches]
    )
    data = workload.dataset(pack=True)
    wanted = np.isin(data.prompt_records().ids, ids).astype(np.float32)
    in_order = data.one_pass(pack=True).drawn(wanted, with_replacement=False)
    forward = _forward(config)
    parts = [
        ReferenceLogprobs.of_batch(batch, forward(params, batch), keep_tokens=True)
        for batch in in_order.batches()
    ]
    return ReferenceTable.of(ReferenceLogprobs.joined(parts))


def _forward(config: T5Config):
    model = FeedbackModel(network=config, objective=NLL())
    compiled = jax.jit(model.token_logprobs)

    def forward(params, batch):
        return np.asarray(compiled(params, device_fields(batch)))

    return forward


def _noise(steps, params, batches, frozen_copy: bool) -> dict[str, float]:
    """What the metrics of train steps say of ℓ, a response's."""
    state, total = _state(steps, params), None
    reference = None
    if frozen_copy:
        reference = jax.tree.map(lambda x: x.copy(), state.params)
    for batch in batches:
        state, metrics = steps.train(state, batch, reference)
        total = metrics if total is None else metrics_lib.merge(total, metrics)
    found = metrics_lib.compute(total)
    return {
        "mean": -found["kl"],
        "rms": found["logratio/mean_square"] ** 0.5,
        "largest": found["logratio/largest"],
        "largest_per_root_token": found["logratio/largest_per_root_token"],
    }


def _per_token(name, config, params, table, batches) -> Figures:
    """The cache against the same records in the batches' rows, token by token."""
    forward = _forward(config)
    differences = []
    for batch in batches:
        cached = table.attach(batch)["reference_token_logprobs"]
        real = batch["decoder_loss_weights"] > 0
        differences.append((forward(params, batch) - cached)[real])
    found = np.concatenate(differences).astype(np.float64)
    return {
        f"{name}.token_rms": Figure.exact(float(np.sqrt(np.mean(found**2)))),
        f"{name}.token_largest": Figure.exact(float(np.abs(found).max())),
    }
