"""`dro-jax tasks list`, `dro-jax tasks inspect NAME` and `dro-jax tasks inspect FILE`."""

import functools

from dro_jax.cli import gin_setup, inspect_file
from dro_jax.data.inspection import inspect_task, list_tasks
from dro_jax.data.inspection_plot import write_histogram
from dro_jax.data.inspection_text import report_text
from dro_jax.data.modules import import_modules
from dro_jax.errors import ConfigError

SHIPPED = ("dro_jax.tasks.support_desk.task", "dro_jax.tasks.hha")


def run(arguments) -> None:
    """List the registered tasks, or inspect one."""
    if arguments.gin_file:
        gin_setup.parse(
            arguments.gin_file,
            arguments.gin_bindings,
            arguments.gin_search_paths,
            arguments.allow_import,
        )
        import_modules(gin_setup.macro("MIXTURE_OR_TASK_MODULE"))
    import_modules(SHIPPED)
    import_modules(arguments.module, "--module")
    if arguments.action == "list":
        print(list_tasks())
    else:
        _inspect(arguments)


def _inspect(arguments) -> None:
    name = arguments.name
    if name is None and arguments.gin_file:
        name = gin_setup.macro("MIXTURE_OR_TASK_NAME")
    if name is None:
        raise ConfigError(
            "`dro-jax tasks inspect` needs a file of feedback or a task's name: "
            "`dro-jax tasks list` shows those that are registered"
        )
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
