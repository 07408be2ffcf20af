"""Runs of a sweep evaluated: each when it is trained, and all together at the end."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.cli import evaluate_command
from dro_jax.cli.gin_text import as_text
from dro_jax.cli.parser import build_parser
from dro_jax.errors import ConfigError
from dro_jax.sweeps.names import SWEEP_DIR, filled_in, in_quotes, names_in
from dro_jax.sweeps.results import SweptTrial
from dro_jax.sweeps.sweep import Evaluation

_FLAGS = (
    "task",
    "split",
    "num_prompts",
    "num_samples",
    "temperature",
    "seed",
    "batch_size",
)


@dataclasses.dataclass(frozen=True)
class SweepEvaluation:
    """How runs are evaluated.

    Attributes:
      settings: as the sweep describes it.
      folder: the sweep's.
      search_paths, allow_imports: as for `gin_setup.parse`.
    """

    settings: Evaluation
    folder: pathlib.Path
    search_paths: str = ""
    allow_imports: Sequence[str] = ()

    def of_run(
        self, run: pathlib.Path, trials: Sequence[SweptTrial]
    ) -> evaluate_command.Comparison:
        """A run's responses and their rewards, kept in its folder; nobody judges yet."""
        return evaluate_command.evaluate(self._arguments([run], trials), pairs="none")

    def of_all(
        self, runs: Sequence[pathlib.Path], trials: Sequence[SweptTrial]
    ) -> evaluate_command.Comparison:
        """All runs judged together, each against what it started from."""
        return evaluate_command.evaluate(
            self._arguments(runs, trials), pairs="references"
        )

    def _arguments(
        self, runs: Sequence[pathlib.Path], trials: Sequence[SweptTrial]
    ) -> Any:
        words = ["evaluate", *map(str, runs)]
        for name in _FLAGS:
            value = getattr(self.settings, name)
            if value is not None:
                words.append(f"--{name}={value}")
        arguments = build_parser().parse_args(words)
        names = self._names(trials)
        arguments.gin_file = list(self.settings.gin_files)
        arguments.gin_search_paths = self.search_paths
        arguments.allow_import = list(self.allow_imports)
        arguments.gin_bindings = [
            filled_in(f"{name} = {as_text(name, value)}", names, in_quotes)
            for name, value in self.settings.bindings.items()
        ]
        return arguments

    def _names(self, trials: Sequence[SweptTrial]) -> Mapping[str, str]:
        found = {SWEEP_DIR: str(self.folder)}
        for name in names_in(self.settings.bindings):
            runs = [one for one in trials if one.stage == name]
            done = [one for one in runs if one.state == "complete"]
            if runs and len(done) != 1:
                raise ConfigError(
                    f"Sweep.evaluation: ${name} must be one run, and the stage {name} "
                    f"has {len(done)} that are done of {len(runs)}"
                )
            if done:
                found[name] = str(self.folder / done[0].folder)
        return found
