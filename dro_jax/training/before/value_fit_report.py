"""What the fit of a value gave."""

import dataclasses
import json
import pathlib
from typing import Any

from dro_jax.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class EpochErrors:
    """How far V is from the rewards after an epoch, without dropout.

    Attributes:
      train_mse: mean squared error where V was fitted, in squared units of reward.
      held_out_mse: the same on held-out prompts.
      explained_variance: 1 − held_out_mse / `FitReport.constant_mse`; 0 where the
        latter is 0.
    """

    train_mse: float
    held_out_mse: float
    explained_variance: float

    def text(self) -> str:
        """Half a line for people."""
        return (
            f"mean squared error {self.train_mse:.4g}, held out "
            f"{self.held_out_mse:.4g} ({self.explained_variance:.1%} explained)"
        )


@dataclasses.dataclass(frozen=True)
class FitReport:
    """What a fit gave.

    Attributes:
      epochs: the errors after each epoch; the first, epoch 0, are those of a constant.
      best_epoch: the one that was kept, by `held_out_mse`.
      constant_mse: the held-out error of a constant, the mean reward of the others.
      min_value, max_value: the bounds of V.
      train_prompts, held_out_prompts: distinct prompts.
      train_records, held_out_records: responses to them.
    """

    epochs: tuple[EpochErrors, ...]
    best_epoch: int
    constant_mse: float
    min_value: float
    max_value: float
    train_prompts: int
    held_out_prompts: int
    train_records: int
    held_out_records: int

    @property
    def best(self) -> EpochErrors:
        """The errors of what was kept."""
        return self.epochs[self.best_epoch]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `best` among them, for people."""
        values = dataclasses.asdict(self)
        return {"best": dataclasses.asdict(self.best), **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FitReport":
        """From what :meth:`to_json` gave."""
        fields = {name: x for name, x in values.items() if name != "best"}
        fields["epochs"] = tuple(EpochErrors(**epoch) for epoch in fields["epochs"])
        return cls(**fields)

    @classmethod
    def read(cls, path: pathlib.Path) -> "FitReport":
        """From a file with what :meth:`to_json` gave.

        Raises:
          CheckpointError: it is damaged.
        """
        try:
            return cls.from_json(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{path} cannot be read ({error!r}): delete it, and the run fits the "
                "value of the reference anew"
            ) from error

    def text(self) -> str:
        """A line for people."""
        found = (
            f"epoch {self.best_epoch} of {len(self.epochs) - 1}: {self.best.text()}, "
            f"a constant's {self.constant_mse:.4g}"
        )
        if self.best_epoch == 0:
            found += "; no epoch was better, so V is that constant"
        return found
