"""The settings of a sweep: runs that differ in nothing but their seed, and what they do."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, WinRate
from dro_jax.evaluation.figures import figure
from dro_jax.evaluation.halves import halves
from dro_jax.evaluation.seeds_and_prompts import (
    PooledDifference,
    mean_over_seeds,
    pooled_difference,
    pooled_mean,
)
from dro_jax.evaluation.self_bleu import self_bleu
from dro_jax.reporting.sweep_results import SweptTrial
from dro_jax.text_metrics import distinct_n

WIN_RATE = "win_rate/"
_OF_SETS = ("distinct_1", "distinct_2", "distinct_3", "self_bleu")


@dataclasses.dataclass(frozen=True, eq=False)
class SweptRun:
    """A trial that was evaluated.

    Attributes:
      trial: what the sweep knows of it.
      evaluated: its responses and figures.
      folder: of the run.
      win_rates: of it against others.
    """

    trial: SweptTrial
    evaluated: EvaluatedRun
    folder: pathlib.Path
    win_rates: Sequence[WinRate] = ()

    @property
    def seed(self) -> Any:
        """The value of its seed's axis; None without one."""
        axis = self.trial.seed_axis
        return None if axis is None else self.trial.values.get(axis)

    @functools.cached_property
    def judged(self) -> dict[str, Mapping[str, float]]:
        """By judge, each prompt's preference over the reference's response."""
        reference = self.evaluated.settings.get("reference") or {}
        return {
            one.judge: one.preferences
            for one in self.win_rates
            if one.preferences and one.second == reference.get("label")
        }

    @functools.cache  # noqa: B019 - a run lives as long as its report
    def by_prompt(self, name: str) -> Mapping[str, float]:
        """A figure of each prompt, the mean over its responses; empty without it."""
        if name.startswith(WIN_RATE):
            return self.judged.get(name.removeprefix(WIN_RATE), {})
        if name not in self.evaluated.figures:
            return {}
        found: dict[str, list[float]] = {}
        for one in self.evaluated.responses:
            found.setdefault(one.prompt_id, []).append(_number(one, name))
        return {prompt: float(np.mean(own)) for prompt, own in found.items()}

    def of_set(self, name: str, prompts: Sequence[str]) -> float:
        """A figure of all responses to some prompts together."""
        asked = {*prompts}
        texts = [x.response for x in self.evaluated.responses if x.prompt_id in asked]
        return (
            self_bleu(texts)
            if name == "self_bleu"
            else distinct_n(texts, int(name[-1]))
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """Runs of one setting, a seed each.

    Attributes:
      compared: what is compared, as its objective.
      values: of the axes that are neither compared, conditions nor seeds.
      runs: the evaluated ones, by seed.
      planned: how many runs it was to have.
    """

    compared: str
    values: Mapping[str, Any]
    runs: Sequence[SweptRun]
    planned: int

    @property
    def name(self) -> str:
        """What it is set to, in words: `TAU 0.1 · BETA 2`."""
        return in_words(self.values)

    @property
    def seeds(self) -> str:
        """How many of its runs count."""
        ran = len(self.runs)
        return f"{ran}" if ran == self.planned else f"{ran} of {self.planned}"

    def numbers(self, name: str, prompts: Sequence[str]) -> np.ndarray:
        """``[S, P]`` a figure by seed and prompt; NaN where there is none."""
        rows = [run.by_prompt(name) for run in self.runs]
        return np.array([[row.get(p, np.nan) for p in prompts] for row in rows])

    def mean(self, name: str, prompts: Sequence[str]) -> float:
        """A figure over seeds and prompts; NaN where there is none."""
        numbers = self.numbers(name, prompts)
        kept = numbers[:, np.isfinite(numbers).all(0)]
        return float(kept.mean()) if kept.size else float("nan")

    @functools.cache  # noqa: B019 - a setting lives as long as its report
    def _estimate(self, name: str, prompts: tuple[str, ...]) -> Estimate | None:
        if name in _OF_SETS:
            having = [run for run in self.runs if name in run.evaluated.figures]
            found = [run.of_set(name, prompts) for run in having]
            return _possible(name, mean_over_seeds(found)) if found else None
        numbers = self.numbers(name, prompts)
        kept = numbers[:, np.isfinite(numbers).all(0)]
        return _possible(name, pooled_mean(kept)) if kept.size else None

    def estimate(self, name: str, prompts: Sequence[str]) -> Estimate | None:
        """A figure on some prompts, over its seeds; None without it."""
        return self._estimate(name, tuple(prompts))

    def by_seed(self, name: str, prompts: Sequence[str]) -> list[float]:
        """A figure of each run."""
        return np.nanmean(self.numbers(name, prompts), axis=1).tolist()

    def less(
        self, other: "Setting", name: str, prompts: Sequence[str]
    ) -> PooledDifference | None:
        """By how much a figure exceeds another setting's; None where one has none."""
        one, two = self.numbers(name, prompts), other.numbers(name, prompts)
        both = np.isfinite(one).all(0) & np.isfinite(two).all(0)
        return pooled_difference(one[:, both], two[:, both]) if both.any() else None


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """Settings that are compared: all trained and asked under the same conditions.

    Attributes:
      condition: values of the axes that are given.
      settings: of all that is compared, in the order of trials.
      references: what they are compared with.
    """

    condition: Mapping[str, Any]
    settings: Sequence[Setting]
    references: Sequence[Setting] = ()

    @functools.cached_property
    def halves(self) -> tuple[list[str], list[str]]:
        """Prompts to choose by, and prompts to report on."""
        (first, *_), *_ = (setting.runs for setting in self.settings)
        return halves(one.prompt_id for one in first.evaluated.responses)

    @property
    def choosing(self) -> list[str]:
        """Prompts that choose."""
        return self.halves[0]

    @property
    def reporting(self) -> list[str]:
        """Prompts that are reported on."""
        return self.halves[1]

    @property
    def name(self) -> str:
        """The condition in words; empty where there is none."""
        return in_words(self.condition)

    @property
    def compared(self) -> list[str]:
        """What is compared here, in the order of trials."""
        return list(dict.fromkeys(setting.compared for setting in self.settings))

    def of(self, compared: str) -> list[Setting]:
        """The settings of one."""
        return [x for x in self.settings if x.compared == compared]


def in_words(values: Mapping[str, Any]) -> str:
    """Values by name as people read them."""
    return " · ".join(f"{name} {shown_value(x)}" for name, x in values.items())


def shown_value(value: Any) -> str:
    """An axis' value as tables write it."""
    is_float = isinstance(value, float)
    return f"{value:.4g}" if is_float else str(value)


def _possible(name: str, found: Estimate) -> Estimate:
    """The same, its interval without what the figure cannot be: a KL below 0, say."""
    row = figure(name)
    if name.startswith("reward") or found.low is None or found.high is None:
        return found
    is_share = row.format.endswith("%") or name in _OF_SETS
    least = min(0.0, found.value)  # a KL by samples may lie below
    high = min(found.high, 1.0) if is_share else found.high
    return dataclasses.replace(found, low=max(found.low, least), high=high)


def _number(response, name: str) -> float:
    if name == "kl":
        return response.logprob - response.reference_logprob
    if name == "length":
        return len(response.response.split())
    if name == "reward":
        return next(iter(response.rewards.values()))
    if name.startswith("reward/"):
        return response.rewards[name.removeprefix("reward/")]
    if name in ("tokens", "cut", "empty"):
        return float(getattr(response, name))
    raise ValueError(f"'{name}' is no figure of single responses")
