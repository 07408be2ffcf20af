"""Packed against padded batches: trajectories and real tokens a second."""

import dataclasses

import numpy as np

from dro_jax.benchmarks import workload
from dro_jax.benchmarks.timing import Figure, Figures, in_turn
from dro_jax.data.dataset import DatasetConfig
from dro_jax.objectives import DROV

_STEPS = 2
_WAYS = {"packed": True, "padded": False}


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What the rows of one pass over the data hold."""

    rows: int
    trajectories: int
    tokens: int
    row_tokens: int

    @property
    def padding_share(self) -> float:
        """The share of padding, prompts and responses together."""
        return 1 - self.tokens / (self.rows * self.row_tokens)

    @property
    def trajectories_per_row(self) -> float:
        """In the mean."""
        return self.trajectories / self.rows

    @classmethod
    def read(cls, data: DatasetConfig) -> "Epoch":
        """Reads the whole epoch; rows that only fill the last batch up do not count."""
        rows = trajectories = tokens = row_tokens = 0
        for batch in dataclasses.replace(data, num_epochs=1).batches():
            sides = batch["encoder_input_tokens"], batch["decoder_target_tokens"]
            row_tokens = sum(side.shape[1] for side in sides)
            present = batch["trajectory_weights"] > 0
            rows += int(present.any(axis=1).sum())
            trajectories += int(present.sum())
            tokens += sum(map(np.count_nonzero, sides))
        return cls(rows, trajectories, tokens, row_tokens)


def measure(rounds: int) -> Figures:
    """DRO-V steps of as many rows each, at 512 prompt and 256 response tokens.

    A step's time depends on its shapes alone, so the rates are those of rows filled as
    they are on average over an epoch.
    """
    epochs = {
        name: Epoch.read(workload.dataset(pack=pack)) for name, pack in _WAYS.items()
    }
    runs = []
    for pack in _WAYS.values():
        plan = workload.plan(DROV(), pack=pack)
        given = workload.batches(plan, _STEPS)
        trainer = workload.Trainer(workload.steps(plan, given[0]))
        runs.append(lambda trainer=trainer, given=given: trainer.run(given))
    seconds = dict(zip(_WAYS, in_turn(*runs, rounds=rounds), strict=True))
    rates = {
        name: {
            unit: [
                getattr(epoch, unit) / epoch.rows * workload.ROWS * _STEPS / time
                for time in seconds[name]
            ]
            for unit in ("trajectories", "tokens")
        }
        for name, epoch in epochs.items()
    }
    pairs = zip(
        rates["packed"]["trajectories"], rates["padded"]["trajectories"], strict=True
    )
    return {
        "packing.speedup": Figure.of([packed / padded for packed, padded in pairs]),
        "packing.padding_share": Figure.exact(epochs["packed"].padding_share),
        "packing.padding_share_padded": Figure.exact(epochs["padded"].padding_share),
    } | {
        f"packing.{unit}_per_second_{name}": Figure.of(values)
        for name, units in rates.items()
        for unit, values in units.items()
    }
