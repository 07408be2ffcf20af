"""What is done to rewards before training; fitted on the train split, in float64.

Each transform is a frozen dataclass with `fit(rewards) -> function`; several apply in
their order, each fitted on what the ones before it made of the train split. A function
works number by number, so that any part of a split can be given to it.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.reward_statistics import mean_and_std
from dro_jax.errors import ConfigError, DataError

Function = Callable[[np.ndarray], np.ndarray]
_CLIP = re.compile(r"clip\(\s*(\S+?)\s*,\s*(\S+?)\s*\)")


class RewardTransform(Protocol):
    """See the module."""

    def fit(self, rewards: np.ndarray) -> Function: ...

    @property
    def needs_train_split(self) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Normalize:
    """Mean 0 and variance 1 over the train split: (r - mean) / std.

    The variance is the population's. Source: DRO (arXiv:2405.19107), which normalises
    its rewards so.
    """

    needs_train_split = True

    def fit(self, rewards: np.ndarray) -> Function:
        """Raises DataError where all rewards are equal."""
        mean, std = mean_and_std(rewards)
        # Rounding can leave a tiny std where all rewards are one number.
        if np.ptp(rewards) == 0 or std == 0:
            raise DataError(
                f"the {rewards.size:,} rewards of the train split are all {mean:g}, so "
                "reward_transform 'normalize' would divide by zero, and there is "
                "nothing to learn from them: check reward_field and reward_kind"
            )
        return lambda values: (values - mean) / std

    def __str__(self) -> str:
        return "normalize"


@dataclasses.dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-r))."""

    needs_train_split = False

    def fit(self, rewards: np.ndarray) -> Function:
        return lambda values: 0.5 * (1.0 + np.tanh(0.5 * values))

    def __str__(self) -> str:
        return "sigmoid"


@dataclasses.dataclass(frozen=True)
class Clip:
    """min(max(r, low), high)."""

    low: float
    high: float
    needs_train_split = False

    def __post_init__(self):
        if math.isnan(self.low) or math.isnan(self.high) or self.low >= self.high:
            raise ConfigError(
                f"reward_transform clip({self.low}, {self.high}) leaves no room: give "
                "the lower bound first"
            )

    def fit(self, rewards: np.ndarray) -> Function:
        return lambda values: np.clip(values, self.low, self.high)

    def __str__(self) -> str:
        return f"clip({self.low:g}, {self.high:g})"


def transformed(
    function: Function, rewards: np.ndarray, dtype: np.dtype | type = np.float32
) -> np.ndarray:
    """``[N]`` rewards after a transform, in a temporary file where they are many."""
    return scratch.filled(len(rewards), dtype, lambda part: function(rewards[part]))


TransformLike = str | RewardTransform | Sequence[str | RewardTransform]


@dataclasses.dataclass(frozen=True)
class TransformChain:
    """Transforms in their order; none of them for `none`."""

    transforms: tuple[RewardTransform, ...] = ()

    @property
    def needs_train_split(self) -> bool:
        """Whether the train split must be read to transform another."""
        return any(transform.needs_train_split for transform in self.transforms)

    def fit(self, rewards: np.ndarray) -> Function:
        """The composed function, fitted on float64 rewards ``[N]``."""
        functions: list[Function] = []
        for number, transform in enumerate(self.transforms):
            function = transform.fit(rewards)
            functions.append(function)
            # What no later one is fitted on need not be computed.
            if any(later.needs_train_split for later in self.transforms[number + 1 :]):
                rewards = transformed(function, rewards, np.float64)

        def apply(values: np.ndarray) -> np.ndarray:
            for function in functions:
                values = function(values)
            return values

        return apply

    def __str__(self) -> str:
        return " then ".join(map(str, self.transforms)) or "none"


def transform_chain(spec: TransformLike) -> TransformChain:
    """From names or transforms.

    Args:
      spec: `none`, `normalize`, `sigmoid`, `clip(low, high)`, a transform of this
        module, or a sequence of these, applied in that order.

    Raises:
      ConfigError: an unknown name.
    """
    several = isinstance(spec, list | tuple)
    parts = list(spec) if several else [spec]
    chain = tuple(_transform(part) for part in parts if part != "none")
    return TransformChain(chain)


def _transform(spec: str | RewardTransform) -> RewardTransform:
    if not isinstance(spec, str):
        if hasattr(spec, "fit"):
            return spec
    elif spec == "normalize":
        return Normalize()
    elif spec == "sigmoid":
        return Sigmoid()
    elif match := _CLIP.fullmatch(spec):
        try:
            return Clip(*map(float, match.groups()))
        except ConfigError:
            raise
        except ValueError:
            pass
    raise ConfigError(
        f"reward_transform {spec!r} is unknown: use 'none', 'normalize', 'sigmoid', "
        "'clip(low, high)' with two numbers, or several of them in a tuple"
    )
