"""What theory says that an objective converges to; `dro-jax certify` measures it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

# In the order of the certificate's tables.
Family = Literal[
    "optimum", "log-ratio", "cloning", "leftover", "labels", "lists", "online"
]


class Logged(Protocol):
    """What is logged of P prompts with Y responses each, in expectation.

    Attributes:
      logging: ``[P, Y]`` μ(y|x), positive.
      reference: ``[P, Y]`` π_ref(y|x).
      optimum: ``[P, Y]`` π*, of the rewards' means.
      rewards: ``[P, Y, C]``, C equally likely copies a response.
      advantages: ``[P, Y, C]`` r − V_ref(x).
      quantiles: ``[P, Y, C]`` P(r' ≤ r), r' a reward of the reference's responses.
      wins: ``[P, Y, Y]`` the probability that one response's reward beats another's.
      noisy: whether the copies of a response differ.
    """

    logging: np.ndarray
    rewards: np.ndarray

    @property
    def reference(self) -> np.ndarray: ...
    @property
    def optimum(self) -> np.ndarray: ...
    @property
    def advantages(self) -> np.ndarray: ...
    @property
    def quantiles(self) -> np.ndarray: ...
    @property
    def wins(self) -> np.ndarray: ...
    @property
    def noisy(self) -> bool: ...


# Of what is logged and of the objective, whose hyperparameters it reads.
Limit = Callable[[Logged, Any], np.ndarray | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theory:
    """What an objective's minimum is, and with which settings that is measured.

    Attributes:
      converges_to: what theory says, in a phrase.
      family: whose neighbour it is in the certificate's tables and pictures.
      temperature: name of the hyperparameter that trades reward for KL, or None.
      at: its value for τ = 1 of the problem.
      settings: the other hyperparameters that differ from the class's defaults.
      limit: the policy ``[P, Y]`` that it converges to, of what is logged and of the
        objective; None where there is no closed form, or returns None where there is
        none for these data. `dro_jax.objectives.limits` has those of several losses.
      ranked: its groups are lists of three in place of pairs.
      positive: reads sigmoid(r) in place of r, as the A-LoL paper's settings do: the
        loss of a negative reward has no minimum.
    """

    converges_to: str
    family: Family
    temperature: str | None = None
    at: float = 1.0
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    limit: Limit | None = None
    ranked: bool = False
    positive: bool = False
