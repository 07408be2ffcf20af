"""Which setting a search tries next, by one of Optuna's samplers.

A draw follows from the search's seed, its number and the settings before it alone, and not
from the process that makes it: a search that is taken up again goes on as it would have.
"""

import dataclasses
import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dro_jax.sweeps.ranges import (
    Range,
    distribution_of,
    num_settings,
    settings,
    told,
)
from dro_jax.sweeps.sweep import Search

if TYPE_CHECKING:
    import optuna

# A space that is nearly used up is looked through in its order.
_ATTEMPTS = 20


@dataclasses.dataclass(frozen=True)
class Tried:
    """A setting that was drawn before.

    Attributes:
      values: by the range's name.
      state: `running`, `complete`, `failed` or `pruned`.
      value: of the search's metric, the mean over seeds; None, not known.
    """

    values: Mapping[str, float | int]
    state: str = "running"
    value: float | None = None


def draw(
    search: Search, group: str, ranges: Sequence[Range], tried: Sequence[Tried]
) -> dict[str, Any]:
    """The setting that follows those that were drawn.

    It is none of them, as long as there is another one: a run is the same each time.

    Args:
      search: how to draw.
      group: tells apart searches of one stage, that of another objective, say.
      ranges: to draw from.
      tried: in the order in which they were drawn.

    Returns:
      A value by the range's name.
    """
    known = {_rounded(one.values) for one in tried}
    for attempt in range(_ATTEMPTS):
        drawn = _drawn(search, group, ranges, tried, attempt)
        found = {axis.name: told(axis, drawn[axis.name]) for axis in ranges}
        if _rounded(found) not in known:
            return found
    if num_settings(ranges) is not None:
        for values in settings(ranges):
            if _rounded(values) not in known:
                return dict(values)
    return found


def best_of(search: Search, tried: Sequence[Tried]) -> Tried | None:
    """The best setting of those that are complete; None where none is."""
    done = [one for one in tried if one.state == "complete" and one.value is not None]
    if not done:
        return None
    sign = 1 if search.direction == "maximize" else -1
    return max(done, key=lambda one: sign * one.value)


def _rounded(values: Mapping[str, float | int]) -> tuple[tuple[str, str], ...]:
    # Steps of a grid are sums, and 0.1 + 0.2 is not 0.3.
    return tuple(sorted((name, f"{value:.10g}") for name, value in values.items()))


def _drawn(search, group, ranges, tried, attempt) -> dict[str, Any]:
    import optuna

    spaces = {axis.name: distribution_of(axis) for axis in ranges}
    with warnings.catch_warnings():
        # QMC has been experimental since 2022.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search.sampler == "qmc":
            return _of_sequence(search, group, spaces, len(tried) + attempt)
        text = f"{search.seed} {group} {len(tried)} {attempt}"
        sampler = _sampler(search, _seed(text))
    study = _study(sampler, search.direction)
    for one in tried:
        study.add_trial(_as_optuna(one, spaces))
    return study.ask(fixed_distributions=spaces).params


def _sampler(search: Search, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # The liar takes what others are running for bad, so that workers spread out.
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=search.startup_trials, constant_liar=True
    )


def _of_sequence(search, group, spaces, number) -> dict[str, Any]:
    """A point of a scrambled Sobol sequence, which covers the ranges evenly."""
    import optuna

    sampler = optuna.samplers.QMCSampler(
        seed=_seed(f"{search.seed} {group}"), scramble=True
    )
    study = _study(sampler, search.direction)
    # The sampler learns from a trial what the ranges are; its points count from 0.
    study.add_trial(
        optuna.create_trial(
            params={name: space.low for name, space in spaces.items()},
            distributions=spaces,
            value=0.0,
        )
    )
    for _ in range(number + 1):
        point = study.ask(fixed_distributions=spaces)
    return point.params


def _study(sampler, direction: str) -> "optuna.Study":
    """A study in memory, which a sampler looks at and nobody keeps."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction=direction, sampler=sampler)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _as_optuna(one: Tried, spaces: Mapping[str, Any]) -> "optuna.trial.FrozenTrial":
    import optuna

    states = optuna.trial.TrialState
    state = {
        "running": states.RUNNING,
        "complete": states.COMPLETE,
        "pruned": states.PRUNED,
    }.get(one.state, states.FAIL)
    if state == states.COMPLETE and (one.value is None or math.isnan(one.value)):
        state = states.FAIL
    return optuna.create_trial(
        state=state,
        value=one.value if state == states.COMPLETE else None,
        params=dict(one.values),
        distributions={name: spaces[name] for name in one.values},
    )


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
