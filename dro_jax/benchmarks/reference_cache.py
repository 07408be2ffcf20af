"""A step with cached reference log-probabilities against one with a frozen copy."""

from dro_jax.benchmarks import workload
from dro_jax.benchmarks.timing import Figures, in_turn, ratio
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROP, DROV

_STEPS = 2
_CASES = {
    "reference_cache.speedup": (DROP(), None),
    **{
        f"reference_cache.speedup_dro_v_{network}": (
            DROV(),
            ValueConfig(network=network),
        )
        for network in ("separate", "shared_head", "policy_logits")
    },
}


def measure(rounds: int) -> Figures:
    """Seconds with the copy, divided by seconds with the cache, on packed batches."""
    figures: Figures = {}
    for name, (objective, value) in _CASES.items():
        plan = workload.plan(objective, value=value)
        cached = workload.batches(plan, _STEPS)
        copied = [
            {name: x for name, x in batch.items() if name != "reference_logprobs"}
            for batch in cached
        ]
        steps = workload.steps(plan, cached[0])
        with_cache = workload.Trainer(steps)
        with_copy = workload.Trainer(steps, frozen_copy=True)
        times = in_turn(
            lambda trainer=with_copy, given=copied: trainer.run(given),
            lambda trainer=with_cache, given=cached: trainer.run(given),
            rounds=rounds,
        )
        figures[name] = ratio(*times)
    return figures
