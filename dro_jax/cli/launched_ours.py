"""Commands of `dro-jax` that are launched."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dro_jax.cli import early_checks, flag_paths, gin_setup, launched_sweep
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import GinFiles
from dro_jax.cli.launched_paths import (
    folder_of,
    may_be_a_path,
    paths_of,
    sorted_paths,
)
from dro_jax.cli.main import gin_bindings
from dro_jax.cli.parser import build_parser
from dro_jax.data.modules import module_names
from dro_jax.errors import ConfigError
from dro_jax.paths import is_url
from dro_jax.shipped_names import ships

COMMANDS = ("train", "generate", "score", "evaluate", "sweep")
_GIVEN_BY_LAUNCH = ("coordinator", "num_processes", "process_id")
_OURS = "dro_jax."
_FILE_FLAGS = ("input", "output")  # of commands that use a model
_STREAM = "-"


def checked(
    command: str, flags: Sequence[str], *, elsewhere: Sequence[str], dry_run: bool
) -> tuple[Mapping[str, Any], Configuration | None]:
    """The fields of a `Job` that runs one of ours, checked as the command itself does.

    Args:
      command: one of `COMMANDS`.
      flags: as typed.
      elsewhere: folders that the hosts see and this machine need not.
      dry_run: write nothing.

    Returns:
      The fields, and the configuration of a run that is trained.

    Raises:
      ConfigError, CheckpointError: the command would refuse this, or hosts cannot share
        it.
    """
    arguments = _parsed(command, flags)
    arguments.dry_run = dry_run or getattr(arguments, "dry_run", False)
    early_checks.check(arguments, elsewhere)
    folders = [path for path in arguments.gin_search_paths.split(",") if path]
    configuration = None
    if command == "sweep":
        return launched_sweep.fields(arguments, flags), None
    if command == "train":
        read, typed = gin_setup.check(
            arguments.gin_file,
            arguments.gin_bindings,
            arguments.gin_search_paths,
            arguments.allow_import,
        )
        configuration = Configuration.of([*read.statements, *typed])
        model_dir, paths = folder_of(configuration), [*paths_of(configuration)]
    else:
        # These files add to the settings of the model's folder, which is on the hosts.
        read = GinFiles(arguments.gin_file, folders)
        model_dir, *paths = _named(arguments)
        _check_not_streamed(paths)
    if model_dir is not None and is_url(model_dir):
        raise ConfigError(
            f"MODEL_DIR = {model_dir}: dro-jax writes to folders. Name the folder where "
            "the hosts mount the bucket (docs/launch.md)"
        )
    found = {
        "command": ("dro-jax", command, *flags),
        "gin_files": read.own,
        "modules": (
            *own_modules(configuration),
            *_of_people(getattr(arguments, "module", ())),
        ),
        "resumes": not getattr(arguments, "overwrite", False),
        **sorted_paths(model_dir, [*paths, *folders]),
    }
    return found, configuration


def own_modules(configuration: Configuration | None) -> tuple[str, ...]:
    """The modules that register a run's tasks, but for those that ship."""
    named = configuration and configuration.macros.get("MIXTURE_OR_TASK_MODULE")
    if not isinstance(named, str | tuple | list):
        return ()
    return _of_people(module_names(named))


def _of_people(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(n for n in names if not n.startswith(_OURS) and not ships(n))


def _named(arguments) -> list[str]:
    """The folders and files of a command that uses models, the first model's first."""
    models = getattr(arguments, "runs", None) or [arguments.model_dir]
    files = (getattr(arguments, name, None) for name in _FILE_FLAGS)
    reference = getattr(arguments, "reference", None)
    others = (reference,) if reference and may_be_a_path(reference) else ()
    return [*models, *(path for path in files if path), *others]


def _parsed(command: str, flags: Sequence[str]):
    arguments, rest = build_parser().parse_known_args([command, *flags])
    for name in _GIVEN_BY_LAUNCH:
        if getattr(arguments, name, None) is not None:
            raise ConfigError(
                f"--{name} of {command} is given by launch itself: leave it out"
            )
    arguments.gin_bindings = gin_bindings(rest)
    flag_paths.expand(arguments)
    return arguments


def _check_not_streamed(paths: Sequence[str]) -> None:
    if _STREAM in paths:
        raise ConfigError(
            "- is this terminal's own input and output, which other hosts do not have: "
            "give files"
        )
