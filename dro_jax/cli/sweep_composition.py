"""A trial's gin files and bindings, put together and looked at before anything runs."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from dro_jax.cli import gin_setup, run_checks
from dro_jax.cli.configuration_diff import Configuration, full_name
from dro_jax.cli.gin_effect import Effect, needs_of
from dro_jax.cli.gin_files import GinFiles
from dro_jax.cli.gin_names import SLICE, check_names
from dro_jax.cli.gin_selectors import check_selectors
from dro_jax.cli.gin_text import as_text
from dro_jax.cli.gin_values import check_values, typed_statements
from dro_jax.data.modules import look_in_current_folder
from dro_jax.errors import ConfigError, UserError
from dro_jax.sweeps.combinations import Combination
from dro_jax.sweeps.names import names_in
from dro_jax.sweeps.sweep import Evaluation, Stage

_MODEL_DIR, STEPS = "MODEL_DIR", "TRAIN_STEPS"
CACHE_DIR, VALUE_DIR = "REFERENCE_CACHE_DIR", "VALUE_OF_REFERENCE_DIR"
SAMPLES_DIR = "REFERENCE_SAMPLES_DIR"


class Setting(NamedTuple):
    """A binding that a sweep gives to a trial.

    Attributes:
      name: as it is written.
      text: its value, as gin writes it.
      source: the axis that gives it, or "" for the stage itself.
    """

    name: str
    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.name} = {self.text}"


@dataclasses.dataclass(frozen=True)
class Composed:
    """A trial's command line.

    Attributes:
      gin_files: in their order.
      used: settings that its run reads.
      unused: those that it does not.
      effect: what its run reads of all.
      configuration: of the files and the settings that are read.
    """

    gin_files: tuple[str, ...]
    used: tuple[Setting, ...]
    unused: tuple[Setting, ...]
    effect: Effect
    configuration: Configuration

    @property
    def bindings(self) -> list[str]:
        """Those that are read, `NAME = VALUE`."""
        return [str(setting) for setting in self.used]


class Composer:
    """Puts trials together.

    Args:
      search_paths: folders, comma-separated, as `--gin_search_paths`.
      allow_imports: as `--allow_import`.
      elsewhere: as for `early_checks.check`.
    """

    def __init__(
        self,
        search_paths: str = "",
        allow_imports: Sequence[str] = (),
        elsewhere: Sequence[str] = (),
    ):
        self._search_paths = search_paths
        self._allow_imports = tuple(allow_imports)
        self._elsewhere = tuple(elsewhere)
        look_in_current_folder(self._allow_imports, "--allow_import")
        self._read: dict[tuple[str, ...], Configuration] = {}
        self._statements: dict[tuple[str, ...], list[Any]] = {}

    def composed(self, stage: Stage, combination: Combination) -> Composed:
        """The command line of one combination of a stage's axes.

        Raises:
          ConfigError: a file is missing, or a binding is none.
        """
        files, settings = _given(stage, combination)
        statements = self._statements_of(files)
        typed = typed_statements([*map(str, settings)], self._read[files])
        configuration = Configuration.of([*statements, *typed])
        effect = Effect.of(configuration)
        used, unused = [], []
        for setting, statement in zip(settings, typed, strict=True):
            is_read = _is_read(statement, effect, configuration)
            (used if is_read else unused).append(setting)
        return Composed(files, tuple(used), tuple(unused), effect, configuration)

    def check(self, composed: Composed, label: str, others: Sequence[str] = ()) -> None:
        """Refuses what `dro-jax train` would refuse of a trial, as far as files tell.

        Args:
          composed: the trial.
          label: its own, for errors.
          others: bindings that its run will have beside its own.

        Raises:
          ConfigError, CheckpointError: with the trial's label.
        """
        bindings = [f"{_MODEL_DIR} = '$SWEEP_DIR'", *composed.bindings, *others]
        try:
            read, typed = gin_setup.check(
                composed.gin_files,
                bindings,
                self._search_paths,
                self._allow_imports,
                tell=None,
            )
            found = Configuration.of([*read.statements, *typed])
            # What earlier stages make is not there yet.
            late = {x.selector for x in typed if any(names_in(x.value))}
            now = {name: x for name, x in found.macros.items() if name not in late}
            run_checks.check_run(
                dataclasses.replace(found, macros=now), self._elsewhere
            )
        except UserError as error:
            raise type(error)(f"{label}: {error}") from error

    def check_evaluation(
        self, evaluation: Evaluation, trials: Sequence[Composed]
    ) -> None:
        """Refuses files and bindings of an evaluation that say what nothing reads.

        Args:
          evaluation: the sweep's.
          trials: whose settings it may change, as their data.

        Raises:
          ConfigError: there is one, or a file is missing.
        """
        statements = self._statements_of(tuple(evaluation.gin_files))
        bindings = [f"{n} = {as_text(n, x)}" for n, x in evaluation.bindings.items()]
        typed = typed_statements(bindings, Configuration.of(statements))
        known = {name for one in trials for name in one.effect.macros}
        try:
            check_selectors(statements, typed)
            check_names(statements, typed, None, sorted(known))
            check_values([*statements, *typed], Configuration.of([*statements, *typed]))
        except ConfigError as error:
            raise ConfigError(f"Sweep.evaluation: {error}") from error

    def near(self, composed: Composed) -> list[str]:
        """The names that a trial's run reads, for those that are misspelt."""
        names = composed.configuration.names
        written = {names.get(name, name) for name in composed.effect.bindings}
        return sorted({*composed.effect.macros, *written})

    def _statements_of(self, files: tuple[str, ...]) -> list[Any]:
        if files not in self._statements:
            folders = [path for path in self._search_paths.split(",") if path]
            self._statements[files] = GinFiles(files, folders).statements
            self._read[files] = Configuration.of(self._statements[files])
        return self._statements[files]


def keeps(composed: Composed, setting: str) -> bool:
    """Whether a run keeps what a folder is for, and does not say itself where."""
    return (
        setting in composed.effect.macros
        and composed.configuration.macros.get(setting) is None
    )


def token_logprobs(composed: Composed) -> bool:
    """Whether a run's reference keeps those of tokens too."""
    needs = needs_of(composed.configuration)
    return needs is not None and needs.token_logprobs


def _given(
    stage: Stage, combination: Combination
) -> tuple[tuple[str, ...], list[Setting]]:
    """Files in their order, and settings, each name once, what is said last."""
    files: list[str] = []
    placed: set[str] = set()
    of_axis = {
        axis: [word for word in words if "=" not in word]
        for axis, words in combination.words.items()
    }
    for name in stage.gin_files:
        axis = next((own for own in names_in(name) if own in of_axis), None)
        if axis is None:
            files.append(name)
            continue
        files += of_axis[axis]
        placed.add(axis)
    for axis, own in of_axis.items():
        if axis not in placed:
            files += own
    settings: dict[str, Setting] = {}
    for name, value in stage.bindings.items():
        settings[name] = Setting(name, as_text(name, value), "")
    for axis, words in combination.words.items():
        for word in words:
            name, equals, text = (part.strip() for part in word.partition("="))
            if equals:
                settings.pop(name, None)  # the last word holds, where it is said
                settings[name] = Setting(name, text, axis)
    for name, value in combination.settings.items():
        settings[name] = Setting(name, as_text(name, value), name)
    return tuple(files), [*settings.values()]


def _is_read(statement: Any, effect: Effect, configuration: Configuration) -> bool:
    scope = f"{statement.scope}/" if statement.scope else ""
    if not statement.arg_name:
        return f"{scope}{statement.selector}" in {*effect.macros, SLICE, _MODEL_DIR}
    full = full_name(statement.selector, configuration.modules)
    return f"{scope}{full}.{statement.arg_name}" in effect.bindings
