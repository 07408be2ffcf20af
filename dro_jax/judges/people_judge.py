"""What people said on sheets, as a judge among others."""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from dro_jax import paths
from dro_jax.errors import ConfigError
from dro_jax.judges.blinding import Key
from dro_jax.judges.interface import Pair, Verdicts
from dro_jax.judges.sheet_answers import read_sheets, summary
from dro_jax.messages import note


@dataclasses.dataclass(frozen=True)
class PeopleJudge:
    """Answers the pairs that people saw on a sheet, by the mean of their preferences.

    Other pairs are not answered, but equal responses, which are a tie. A pair is known by
    its texts. Answers that do not count are noted, as `dro-jax judge read` does.

    Attributes:
      key: the key.json of the sheet.
      sheets: the filled sheet or sheets, CSV or JSON.
      name: what tables call it.

    Raises:
      ConfigError: no sheet is named.
      DataError: a file cannot be read, or is of another sheet.
    """

    key: str
    sheets: str | Sequence[str]
    name: str = "people"

    def __post_init__(self):
        sheets = [self.sheets] if isinstance(self.sheets, str) else self.sheets
        if not sheets:
            raise ConfigError(
                "JUDGE_SHEETS names no sheet: give those that were filled"
            )
        key = Key.read(pathlib.Path(paths.expanded(self.key)))
        files = [pathlib.Path(paths.expanded(sheet)) for sheet in sheets]
        answers = read_sheets(files, key)
        for line in summary(answers.problems):
            note(f"judge {self.name}: {line}")
        known = collections.defaultdict(list)
        for own in key.shown:
            prompt, first, second = own.contest.pair
            said = answers.of_pair(own)
            known[own.contest.pair] += said
            known[Pair(prompt, second, first)] += [1 - x for x in said]
        means = {pair: float(np.mean(said)) for pair, said in known.items() if said}
        object.__setattr__(self, "_known", means)

    @property
    def fingerprint(self) -> str:
        """Of all that was said."""
        said = sorted([*pair, preference] for pair, preference in self._known.items())
        return hashlib.sha256(json.dumps(["people", said]).encode()).hexdigest()

    def __call__(self, pairs: Sequence[Pair]) -> Verdicts:
        """A verdict on each pair that people saw."""
        found = [
            0.5 if pair.first == pair.second else self._known.get(pair)
            for pair in pairs
        ]
        return Verdicts(
            np.array([0.5 if x is None else x for x in found], np.float64),
            np.array([x is not None for x in found], bool),
        )
