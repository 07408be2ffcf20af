"""T5X's own programs, launched: their gin files checked without importing T5X."""

import argparse
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import COMMAND_LINE, GinFiles, parse_statements
from dro_jax.cli.gin_names import check_names
from dro_jax.cli.gin_selectors import check_selectors
from dro_jax.cli.launched_ours import own_modules
from dro_jax.cli.launched_paths import absolute, folder_of, paths_of, sorted_paths
from dro_jax.cli.main import gin_bindings
from dro_jax.cli.run_checks import check_are_there
from dro_jax.errors import ConfigError
from dro_jax.launching.common import Common
from dro_jax.messages import note
from dro_jax.paths import is_within

PROGRAMS = ("t5x.train", "t5x.eval", "t5x.infer")
_OF_THE_PACKAGE = "t5x/"
_GIVEN_BY_LAUNCH = (
    "multiprocess_gpu",
    "coordinator_address",
    "process_count",
    "process_index",
)
_NEEDS = {
    "t5x.train": "MODEL_DIR",
    "t5x.eval": "EVAL_OUTPUT_DIR",
    "t5x.infer": "INFER_OUTPUT_DIR",
}


def checked(
    program: str, flags: Sequence[str], common: Common, *, elsewhere: Sequence[str]
) -> tuple[Mapping[str, Any], Configuration | None]:
    """The fields of a `Job` that runs one of T5X's programs.

    Args:
      program: one of `PROGRAMS`.
      flags: as typed.
      common: says where T5X is.
      elsewhere: folders that the hosts see and this machine need not.

    Returns:
      The fields, and the configuration where all files were read.

    Raises:
      ConfigError, CheckpointError: a gin file or setting is missing or is no gin, or names
        what is not there.
    """
    arguments, rest = _parser().parse_known_args(flags)
    for flag in rest:
        if flag.lstrip("-").partition("=")[0] in _GIVEN_BY_LAUNCH:
            raise ConfigError(f"{flag} is given by launch itself: leave it out")
    if not arguments.gin_file:
        raise ConfigError(
            f"{program} needs --gin_file: for example "
            f"dro_jax/gin_configs/t5x/{program.partition('.')[2]}.gin (docs/t5x.md)"
        )
    folders = _t5x_folders(common, elsewhere)
    search = [path for path in arguments.gin_search_paths.split(",") if path]
    names = [*_to_check(arguments.gin_file, folders)]
    read = GinFiles(names, [*search, *folders])
    flags_of_gin = [flag for flag in rest if flag.startswith("--gin.")]
    typed = _typed([*arguments.gin_bindings, *gin_bindings(flags_of_gin)])
    check_selectors(read.statements, [])
    is_whole = names == arguments.gin_file
    if is_whole:
        check_names(read.statements, typed)
    configuration = Configuration.of([*read.statements, *typed])
    check_are_there(configuration, elsewhere)
    folder = folder_of(configuration)
    if folder is None and is_whole:
        name = _NEEDS[program]
        raise ConfigError(f"{program} needs --gin.{name}=\"'FOLDER'\"")
    path = os.pathsep.join(map(absolute, common.t5x_folders))
    found = {
        "command": ("python", "-m", program, *flags),
        "environment": {"PYTHONPATH": path} if path else {},
        "gin_files": read.own,
        "modules": own_modules(configuration),
        "resumes": True,
        **sorted_paths(
            folder, [*paths_of(configuration), *search, *common.t5x_folders]
        ),
    }
    return found, configuration if is_whole else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="t5x", allow_abbrev=False, add_help=False)
    parser.add_argument("--gin_file", action="append", default=[])
    parser.add_argument("--gin_bindings", action="append", default=[])
    parser.add_argument("--gin_search_paths", default="")
    return parser


def _t5x_folders(common: Common, elsewhere: Sequence[str]) -> list[str]:
    """Where T5X's gin files lie here: its checkout, or where it is installed."""
    here = [path for path in common.t5x_folders if not is_within(path, elsewhere)]
    for path in here:
        if not os.path.isdir(path):
            raise ConfigError(f"T5X_DIR names {path}, and there is no such folder")
    if common.t5x_folders:
        return here
    found = importlib.util.find_spec("t5x")
    return [os.path.dirname(found.submodule_search_locations[0])] if found else []


def _to_check(names: Sequence[str], folders: Sequence[str]):
    """The files, but for those of T5X where there is no T5X here."""
    for name in names:
        if name.startswith(_OF_THE_PACKAGE) and not any(
            os.path.isfile(os.path.join(folder, name)) for folder in folders
        ):
            note(f"{name} is T5X's, which is not installed here: it is not checked")
        else:
            yield name


def _typed(bindings: Sequence[str]) -> list[Any]:
    """The statements of the command line's bindings, which T5X reads as gin alone."""
    statements = []
    for binding in bindings:
        try:
            statements += parse_statements(binding, COMMAND_LINE)
        except ConfigError as error:
            name, _, value = binding.partition(" = ")
            raise ConfigError(
                f"--gin.{name}={value} is no gin, as T5X reads it; text needs quotes of "
                f"its own: --gin.{name}=\"'{value}'\""
            ) from error
    return statements
