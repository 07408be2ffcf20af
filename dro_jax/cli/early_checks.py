"""What a command line gets wrong that can be known before anything large is imported.

JAX takes seconds, what a task's module imports more; files and names are checked in less.
"""

import os
import re
from collections.abc import Sequence
from typing import Any

from dro_jax.cli.run_checks import check_run, local_path
from dro_jax.errors import ConfigError
from dro_jax.paths import check_folder, expanded, is_url, is_within


def check(arguments: Any, elsewhere: Sequence[str] = ()) -> None:
    """Refuses what the command would refuse later, or find missing.

    Args:
      arguments: the parsed command line.
      elsewhere: folders of the hosts where the command will run; what lies in them is
        not looked for here.

    Raises:
      ConfigError, CheckpointError: as the command itself.
    """
    if arguments.command == "train":
        _check_train(arguments, elsewhere)
    elif arguments.command == "sweep":
        _check_sweep(arguments, elsewhere)
    elif arguments.command == "plan":
        _check_plan(arguments)
    elif arguments.command in ("tasks", "calibrate"):
        _find_modules(arguments)
    elif arguments.command in ("generate", "score"):
        _check_folder(arguments.model_dir, "--model_dir", elsewhere)
        _check_batch_size(arguments)
    elif arguments.command in ("evaluate", "report"):
        for path in arguments.runs:
            _check_folder(path, "", elsewhere)
        if arguments.command == "evaluate" or arguments.task is not None:
            _find_modules(arguments)
            _check_batch_size(arguments)


def _check_sweep(arguments: Any, elsewhere: Sequence[str]) -> None:
    """Plans it, which the command need not do again."""
    # Light, as gin itself.
    from dro_jax.cli.sweep_file import read_sweep
    from dro_jax.cli.sweep_plan import Planner

    if arguments.workers < 1:
        raise ConfigError(f"--workers {arguments.workers}: give 1 or more")
    given = arguments.gin_search_paths, arguments.allow_import
    sweep = read_sweep(
        arguments.gin_file, arguments.gin_bindings, *given, fast=arguments.fast
    )
    _check_sweep_folder(arguments, elsewhere)
    arguments.plan = Planner(sweep, *given, elsewhere=elsewhere).plan()


def _find_modules(arguments: Any) -> None:
    """Lets what `--module` names be found in the current folder too."""
    from dro_jax.data.modules import look_in_current_folder

    look_in_current_folder(arguments.module, "--module")


def _check_folder(path: str, flag: str, elsewhere: Sequence[str]) -> None:
    """A folder of `dro-jax train`, given by a flag or by its place."""
    named = f"{flag} {path}".lstrip()
    if is_url(path):
        raise ConfigError(f"{named}: give a local folder, and copy it there")
    if not is_within(path, elsewhere) and not os.path.exists(expanded(path)):
        raise ConfigError(f"{named}: there is no such folder")
    if re.search(r"checkpoint_\d+/*$", path):
        folder, _, step = path.rstrip("/").rpartition("checkpoint_")
        given = f"{flag}={folder.rstrip('/') or '.'}".lstrip("=")
        raise ConfigError(
            f"{named} is one checkpoint, and its run's settings lie beside it: give "
            f"{given} --step={step}"
        )


def _check_batch_size(arguments: Any) -> None:
    if arguments.batch_size < 1:
        raise ConfigError(
            f"--batch_size must be at least 1, got {arguments.batch_size}"
        )


def _check_plan(arguments: Any) -> None:
    from dro_jax.cli import plan_each
    from dro_jax.planning.slice_names import check_topology

    if arguments.topology is not None:
        check_topology(arguments.topology)
    if arguments.each is not None:
        _check_plan_each(arguments)
        return
    if arguments.plans is not None:
        raise ConfigError(
            "--plans keeps the plans of --each FOLDER, which is not given"
        )
    _check_has_files(arguments)
    plan_each.slice_named_by(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
    )


def _check_plan_each(arguments: Any) -> None:
    if arguments.gin_file or arguments.search or arguments.json:
        raise ConfigError(
            "--each plans the run files of a folder, and goes with --plans, --topology "
            "and --gin.NAME=VALUE; --gin_file, --search and --json are of a single plan"
        )
    if not os.path.isdir(arguments.each):
        raise ConfigError(f"--each {arguments.each}: there is no such folder")
    if arguments.plans is not None:
        check_folder(arguments.plans, "--plans")


def _check_sweep_folder(arguments: Any, elsewhere: Sequence[str]) -> None:
    folder = arguments.output_dir
    # It is not made here: of a sweep that is refused nothing stays.
    if not (is_url(folder) or is_within(folder, elsewhere) or arguments.dry_run):
        check_folder(expanded(folder), "--output_dir")


def _check_has_files(arguments: Any) -> None:
    if not arguments.gin_file:
        raise ConfigError(
            "no --gin_file is given: a run needs a run file, for example "
            "gin_configs/runs/quickstart_reference.gin"
        )


def _check_train(arguments: Any, elsewhere: Sequence[str]) -> None:
    _check_has_files(arguments)
    # gin itself is light, and so is what reads its files; --help needs neither.
    from dro_jax.cli import gin_setup
    from dro_jax.cli.configuration_diff import Configuration

    read, typed = gin_setup.check(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
        tell=None,
    )
    configuration = Configuration.of([*read.statements, *typed])

    if not arguments.dry_run:
        for name in (
            "MODEL_DIR",
            "REFERENCE_CACHE_DIR",
            "REFERENCE_SAMPLES_DIR",
            "VALUE_OF_REFERENCE_DIR",
        ):
            if path := local_path(name, configuration, elsewhere):
                check_folder(expanded(path), name)
    check_run(configuration, elsewhere)
