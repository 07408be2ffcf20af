"""Several rewards as one."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.interface import Reward, Scores


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of rewards, each of them a part, with its own parts as `NAME/PART`.

    Σ_k weight_k · (reward_k − mean_k) / std_k; the parts are the rewards as they are.

    Means and deviations are numbers in the settings, never taken from what is scored: a
    response has the same reward whatever stands beside it. `dro-jax reward` prints them
    of any file.

    Attributes:
      rewards: at least one.
      weights: of each; negative ones punish.
      names: of each in tables; None, their own.
      means, stds: of each; None, 0 and 1.
      name: what tables call the sum.

    Raises:
      ConfigError: lengths differ, two have one name, or a number cannot be used.
    """

    rewards: Sequence[Reward]
    weights: Sequence[float]
    names: Sequence[str] | None = None
    means: Sequence[float] | None = None
    stds: Sequence[float] | None = None
    name: str = "weighted_sum"

    def __post_init__(self):
        count = len(self.rewards)
        if not count:
            raise ConfigError("WeightedSum needs rewards: give at least one")
        for field in ("weights", "names", "means", "stds"):
            values = getattr(self, field)
            if values is not None and len(values) != count:
                raise ConfigError(
                    f"WeightedSum has {count} rewards and {len(values)} {field}: give one "
                    "for each"
                )
        for field in ("weights", "means", "stds"):
            for value in getattr(self, field) or ():
                if not math.isfinite(value) or (field == "stds" and value <= 0):
                    raise ConfigError(
                        f"WeightedSum.{field} has {value}: give finite numbers"
                        + (" above 0" if field == "stds" else "")
                    )
        names = self._names()
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"WeightedSum has two rewards called {name!r}: give each a name in "
                    "WeightedSum.names"
                )

    @property
    def fingerprint(self) -> str:
        return fingerprint(
            "WeightedSum",
            [reward.fingerprint for reward in self.rewards],
            *(
                None if values is None else list(map(float, values))
                for values in (self.weights, self.means, self.stds)
            ),
            self._names(),
        )

    @property
    def looks_at_others(self) -> bool:
        """Whether a score depends on the other responses of the call."""
        return any(getattr(r, "looks_at_others", False) for r in self.rewards)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        total, parts = np.zeros(len(responses)), {}
        means = self.means or [0.0] * len(self.rewards)
        stds = self.stds or [1.0] * len(self.rewards)
        for name, reward, weight, mean, std in zip(
            self._names(), self.rewards, self.weights, means, stds, strict=True
        ):
            scores = reward(prompts, responses)
            total += weight * (scores.total - mean) / std
            parts[name] = scores.total
            parts |= {f"{name}/{part}": x for part, x in scores.parts.items()}
        return Scores(total, parts)

    def _names(self) -> list[str]:
        return list(self.names or (reward.name for reward in self.rewards))
