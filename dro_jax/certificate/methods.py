"""The objectives under certification: settings, and what each is to converge to."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import get_args

import numpy as np

from dro_jax.certificate.problem import Condition
from dro_jax.errors import ConfigError
from dro_jax.objectives import registry
from dro_jax.objectives.interface import Objective
from dro_jax.objectives.theory import Family, Theory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(Theory):
    """An objective with the settings that it is certified with: its `theory`.

    Attributes:
      kind: its class.
    """

    kind: type[Objective]

    @property
    def name(self) -> str:
        """Of its class."""
        return self.kind.__name__

    def objective(self, temperature: float | None = None) -> Objective:
        """The objective; at another temperature (it may be traced) where it has one."""
        settings = dict(self.settings)
        if self.temperature:
            settings[self.temperature] = self.at if temperature is None else temperature
        return self.kind(**settings)

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


def _methods() -> dict[str, Method]:
    """All that `dro_jax.objectives` exports and that train a policy, families together."""
    found = []
    for kind in registry.of_policies().values():
        if kind.theory is None:
            raise TypeError(
                f"objectives.{kind.__name__} has no `theory`, which says what the "
                "certificate measures it against"
            )
        found.append(Method(kind=kind, **vars(kind.theory)))
    families = get_args(Family)
    found.sort(key=lambda method: families.index(method.family))
    return {method.name: method for method in found}


METHODS = _methods()


def choose(names: Sequence[str] | None) -> list[Method]:
    """The methods of these names; case, hyphens and underscores do not matter.

    Raises:
      ConfigError: an unknown name.
    """
    if not names:
        return list(METHODS.values())
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
