"""The objectives under certification: settings, and what each is to converge to."""

import dataclasses
import difflib
from collections.abc import Callable, Sequence

import numpy as np

from dro_jax import objectives
from dro_jax.certificate import limits
from dro_jax.certificate.problem import Condition
from dro_jax.errors import ConfigError
from dro_jax.objectives.interface import Objective

Limit = Callable[[Condition, Objective], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Method:
    """An objective with the settings that it is certified with.

    Attributes:
      name: of its class in `dro_jax.objectives`.
      converges_to: what theory says, in a phrase.
      temperature: name of the hyperparameter that trades reward for KL, or None.
      at: its value for τ = 1 of the problem.
      settings: the other hyperparameters that differ from the class's defaults.
      limit: the policy it converges to, where there is a closed form.
      ranked: its groups are lists of three in place of pairs.
      positive: reads sigmoid(r) in place of r, as the A-LoL paper's settings do: the
        loss of a negative reward has no minimum.
    """

    name: str
    converges_to: str
    temperature: str | None = None
    at: float = 1.0
    settings: dict = dataclasses.field(default_factory=dict)
    limit: Limit | None = None
    ranked: bool = False
    positive: bool = False

    def objective(self, temperature: float | None = None) -> Objective:
        """The objective; at another temperature (it may be traced) where it has one."""
        settings = dict(self.settings)
        if self.temperature:
            settings[self.temperature] = self.at if temperature is None else temperature
        return getattr(objectives, self.name)(**settings)

    def reads(self, condition: Condition) -> Condition:
        """The condition as the method reads its rewards."""
        if not self.positive:
            return condition
        rewards = 1 / (1 + np.exp(-condition.rewards))
        return dataclasses.replace(condition, rewards=rewards)

    @property
    def description(self) -> str:
        """Its settings, for the table."""
        settings = {self.temperature: self.at} if self.temperature else {}
        parts = [
            f"{name} = {x:g}" if isinstance(x, float) else f"{name} = {x}"
            for name, x in {**settings, **self.settings}.items()
        ]
        if self.positive:
            parts.append("r → sigmoid(r)")
        return ", ".join(parts)


_LABELS = {"threshold": "batch_mean"}
_ALL = (
    Method("DRO", "π*, V → V*", "tau", limit=limits.optimum),
    Method("DROV", "π*, V → V*", "tau", limit=limits.optimum),
    Method("DROP", "one V in place of V*(x): π* only where V* is one number", "tau"),
    Method(
        "RPO", "π*; under noise V̂ lies above V*", "tau",
        limit=limits.optimum_without_noise,
    ),
    Method("UNA", "DRO with V = 0: π* only where V* = 0", "beta"),
    Method(
        "QRPO", "near π_ref exp(q/β), the optimum for quantiles", "beta", 0.3,
        limit=limits.tilted_by_quantile,
    ),
    Method("NLL", "μ", limit=limits.logging),
    Method("WeightedBC", "μ r", positive=True, limit=limits.weighted_by_reward),
    Method("RGold", "μ r, sharpened towards likely tokens", positive=True),
    Method(
        "AWR", "μ exp(A/β): π* only where μ = π_ref, without noise", "beta",
        settings={"max_weight": 1e9}, limit=limits.weighted_exponentially,
    ),
    Method("RLoL", "μ r, sharpened by the clipped π/π_ref", positive=True),
    Method("ALoL", "μ A₊, sharpened by the clipped π/π_ref"),
    Method("ALoLRefFree", "μ A₊", limit=limits.weighted_by_advantage),
    Method("ALoLSeq", "μ A₊, sharpened token by token"),
    Method("ALoLKL", "near μ (A − β)₊; no minimum, 0 < A < β falls for ever", "beta", 0.1),
    Method("TOPR", "μ r₊", limit=limits.good_by_reward),
    Method(
        "PMPO", "μ (β + a for good, − b for bad)", "beta",
        settings=_LABELS, limit=limits.pushed_apart,
    ),
    Method(
        "KTO", "good responses only; π_ref within them where μ = π_ref", "beta",
        settings=_LABELS | {"class_weights": (1.0, 1.0)},
        limit=limits.good_by_square_root,
    ),
    Method(
        "APOZero", "as KTO; its reference point is 0 by definition", "beta",
        settings=_LABELS, limit=limits.good_by_square_root,
    ),
    Method("BCO", "no minimum: tends to good responses only", "beta", settings=_LABELS),
    Method("DPO", "no minimum without noise: tends to the best response", "beta"),
    Method(
        "IPO", "π_ref exp(P(y ≻ μ)/τ)", "tau", 0.3, limit=limits.tilted_by_preference
    ),
    Method("PRO", "no reference in it: the better of what is logged", ranked=True),
)  # fmt: skip
METHODS = {method.name: method for method in _ALL}


def choose(names: Sequence[str] | None) -> list[Method]:
    """The methods of these names; case, hyphens and underscores do not matter.

    Raises:
      ConfigError: an unknown name.
    """
    if not names:
        return list(_ALL)
    known = {_plain(name): method for name, method in METHODS.items()}
    chosen = {}
    for name in names:
        method = known.get(_plain(name))
        if method is None:
            near = difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.4)
            hint = ", ".join(known[n].name for n in near) or ", ".join(METHODS)
            raise ConfigError(
                f"--objectives names {name!r}, which is no objective of "
                f"dro_jax.objectives; near it: {hint}"
            )
        chosen[method.name] = method
    return list(chosen.values())


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").strip().lower()
