"""Which setting is chosen, by prompts that have no part in what is reported of it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.evaluation.evaluated_run import Estimate
from dro_jax.evaluation.reward_difference import holm
from dro_jax.evaluation.seeds_and_prompts import PooledDifference, pooled_mean
from dro_jax.reporting.marks import BEST, LEVEL
from dro_jax.reporting.swept.settings import Cell, Setting

SURE = 0.05
_MOST_BUDGETS = 5


def best(
    settings: Sequence[Setting],
    figure: str,
    prompts: Sequence[str],
    *,
    most_kl: float = math.inf,
) -> Setting | None:
    """The setting of the highest figure on some prompts; None where none has it.

    Args:
      settings: to choose from.
      figure: what counts.
      prompts: that choose.
      most_kl: nats, on the same prompts; settings beyond it are no choice.
    """
    having = {
        setting: mean
        for setting in settings
        if not math.isnan(mean := setting.mean(figure, prompts))
        and (math.isinf(most_kl) or setting.mean("kl", prompts) <= most_kl)
    }
    return max(having, key=having.get) if having else None


def chosen(
    cell: Cell, figure: str, *, most_kl: float = math.inf
) -> dict[str, Setting | None]:
    """The best setting of each that is compared, by the half that chooses."""
    return {
        name: best(cell.of(name), figure, cell.choosing, most_kl=most_kl)
        for name in cell.compared
    }


def seeds_apart(cell: Cell, compared: str, figure: str) -> Estimate | None:
    """What choosing brings to a seed that had no say in it.

    The halves share their runs: a setting whose seeds were lucky is lucky on both. Here
    each seed in turn is left out, the setting chosen by the others on the half that
    chooses, and what is reported is the seed left out, on the other half.

    Returns:
      None with fewer than two seeds, or nothing to choose from; and where the setting that
      is chosen has one seed, which leaves it no choice here.
    """
    settings = cell.of(compared)
    whole = best(settings, figure, cell.choosing)
    if whole is None or len(whole.runs) < 2:
        return None
    seeds = list(dict.fromkeys(run.seed for x in settings for run in x.runs))
    rows = []
    for seed in seeds:
        without = [
            dataclasses.replace(x, runs=[run for run in x.runs if run.seed != seed])
            for x in settings
            if len(x.runs) > 1 and seed in [run.seed for run in x.runs]
        ]
        found = best(without, figure, cell.choosing)
        if found is not None:
            (own,) = (x for x in settings if x.values == found.values)
            (row,) = (n for n, run in enumerate(own.runs) if run.seed == seed)
            rows.append(own.numbers(figure, cell.reporting)[row])
    if len(rows) < 2 or len(settings) < 2:
        return None
    numbers = np.stack(rows)
    kept = numbers[:, np.isfinite(numbers).all(0)]
    return pooled_mean(kept) if kept.size else None


def budgets(cells: Sequence[Cell], figure: str) -> list[float]:
    """Round numbers of nats, 1, 2 or 5 times a power of ten, that make a difference.

    At each some other setting is chosen than at the one before and than without a budget;
    of more than five, five that are spread over them.
    """
    found = [
        kl
        for cell in cells
        for setting in cell.settings
        if not math.isnan(kl := setting.mean("kl", cell.choosing))
    ]
    if not found:
        return []
    low, high = max(min(found), 0.01), max(found)
    if high <= low:
        return []
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    round_ones = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    told, kept = [[chosen(cell, figure) for cell in cells]], []
    for most in (float(f"{x:.0e}") for x in round_ones if low <= x < high):
        choice = [chosen(cell, figure, most_kl=most) for cell in cells]
        if choice not in told:
            told.append(choice)
            kept.append(most)
    if len(kept) <= _MOST_BUDGETS:
        return kept
    places = np.linspace(0, len(kept) - 1, _MOST_BUDGETS).round().astype(int)
    return [kept[place] for place in places]


def paired(
    settings: Mapping[str, Setting], figure: str, prompts: Sequence[str]
) -> dict[tuple[str, str], PooledDifference]:
    """Differences of each from those before it, by both names."""
    names, found = list(settings), {}
    for place, first in enumerate(names):
        for second in names[:place]:
            apart = settings[first].less(settings[second], figure, prompts)
            if apart is not None:
                found[first, second] = apart
    return found


def marks(
    settings: Mapping[str, Setting], figure: str, prompts: Sequence[str]
) -> dict[str, str]:
    """Which of several is the best, as far as paired differences tell.

    Each is set against each; p is Holm's, for all pairs at once.

    Returns:
      By name: `BEST` for one that all others are surely below; else `LEVEL` for that of
      the highest mean and for those that are not surely below it.
    """
    having = {
        name: mean
        for name, setting in settings.items()
        if not math.isnan(mean := setting.mean(figure, prompts))
    }
    if len(having) < 2:
        return {}
    first = max(having, key=having.get)
    apart = paired({name: settings[name] for name in having}, figure, prompts)
    adjusted = dict(zip(apart, holm([x.p_value for x in apart.values()]), strict=True))
    level = []
    for name in having:
        p = adjusted.get((first, name), adjusted.get((name, first)))
        if name != first and (p is None or p >= SURE):
            level.append(name)
    return {first: BEST} if not level else dict.fromkeys([first, *level], LEVEL)
