"""`dro-jax tasks list`, `tasks inspect NAME`, `tasks inspect FILE`, `tasks prepare`."""

import functools

from dro_jax.cli import gin_setup, inspect_file, prepare_command
from dro_jax.cli.task_modules import import_tasks, named_task
from dro_jax.data.inspection import inspect_task, list_tasks
from dro_jax.data.inspection_plot import write_histogram
from dro_jax.data.inspection_text import report_text
from dro_jax.errors import ConfigError

_OF_PREPARE = {"workers": 1, "runner": None}


def run(arguments) -> None:
    """List the registered tasks, inspect one, or prepare one."""
    _check_flags(arguments)
    import_tasks(
        module=arguments.module,
        gin_file=arguments.gin_file,
        gin_bindings=arguments.gin_bindings,
        gin_search_paths=arguments.gin_search_paths,
        allow_import=arguments.allow_import,
    )
    if arguments.action == "list":
        print(list_tasks())
    elif arguments.action == "inspect":
        name = arguments.name or named_task(None, arguments.gin_file)
        _check_named(arguments, name, "a file of feedback or a task's name")
        _inspect(arguments, name)
    else:
        name = named_task(arguments.name, arguments.gin_file)
        _check_named(arguments, name, "a task's or mixture's name")
        prepare_command.run(arguments, name)


def _check_flags(arguments) -> None:
    if arguments.action == "prepare":
        inspect_file.check_arguments(arguments)
        if arguments.png:
            raise ConfigError("--png has no effect with `tasks prepare`: remove it")
        if arguments.workers < 1:
            raise ConfigError(f"--workers = {arguments.workers}: give 1 or more")
        if arguments.runner and arguments.workers > 1:
            raise ConfigError(
                "--workers has no effect with --runner, whose own flags say how many "
                "workers there are: remove it"
            )
        return
    for name, default in _OF_PREPARE.items():
        if getattr(arguments, name) != default:
            raise ConfigError(
                f"--{name} has no effect with `tasks {arguments.action}`: it is for "
                "`tasks prepare`"
            )


def _check_named(arguments, name: str | None, what: str) -> None:
    if name is None:
        raise ConfigError(
            f"`dro-jax tasks {arguments.action}` needs {what}: `dro-jax tasks list` "
            "shows those that are registered"
        )


def _inspect(arguments, name: str) -> None:
    arguments.split = arguments.split or "train"
    lengths, found = _lengths(arguments), None
    if inspect_file.names_file(name):
        report, found = inspect_file.inspect_file(arguments, lengths)
    else:
        inspect_file.check_arguments(arguments)
        report = inspect_task(name, arguments.split, lengths, arguments.examples)
    print(report_text(report))
    if found is not None:
        print(found)
    if arguments.json:
        arguments.json.write_json(report.to_json())
    if arguments.png:
        arguments.png.write_picture(functools.partial(write_histogram, report))


def _lengths(arguments) -> dict[str, int] | None:
    given = (arguments.input_length, arguments.target_length)
    if given == (None, None):
        if arguments.gin_file:
            return gin_setup.macro("TASK_FEATURE_LENGTHS")
        return None
    if None in given:
        raise ConfigError("give both --input_length and --target_length, or neither")
    return {"inputs": given[0], "targets": given[1]}
