"""What a command line says of tasks, imported."""

import contextlib
from collections.abc import Iterator, Sequence

from dro_jax.cli import gin_setup
from dro_jax.data import registry
from dro_jax.data.modules import import_modules, tasks_of_modules

SHIPPED = (
    "dro_jax.tasks.support_desk.task",
    "dro_jax.tasks.hha",
    "dro_jax.tasks.hha_published",
    "dro_jax.tasks.commonsense",
    "dro_jax.tasks.reddit",
    "dro_jax.tasks.ultrafeedback",
    "dro_jax.tasks.helpsteer2",
    "dro_jax.tasks.oasst2",
    "dro_jax.tasks.dialogue",
)


def import_tasks(
    *,
    module: Sequence[str],
    gin_file: Sequence[str] = (),
    gin_bindings: Sequence[str] = (),
    gin_search_paths: str = "",
    allow_import: Sequence[str] = (),
) -> None:
    """Registers the tasks that ship, those of gin files and those of modules.

    Args:
      module: names, as `--module` gives them.
      gin_file, gin_bindings, gin_search_paths, allow_import: as for `gin_setup.parse`.

    Raises:
      ConfigError: a module or file is missing or cannot be used.
    """
    if gin_file:
        gin_setup.parse(gin_file, gin_bindings, gin_search_paths, allow_import)
        import_modules(gin_setup.macro("MIXTURE_OR_TASK_MODULE"))
    import_modules(SHIPPED)
    import_modules(module, "--module")


def named_task(name: str | None, gin_file: Sequence[str]) -> str | None:
    """The name that was given, or else that of gin files; None without either.

    A task of files is registered where gin's setting of its name is evaluated.

    Raises:
      ConfigError: gin files name no task.
    """
    known = registry.task_names() | registry.mixture_names()
    if not gin_file or name in known:
        return name
    found = gin_setup.macro("MIXTURE_OR_TASK_NAME")
    return name or found


@contextlib.contextmanager
def forgotten_tasks() -> Iterator[None]:
    """Tasks that the block registers are known by name in the block alone.

    Those of gin files are called as the file says, by default all `jsonl`: a second run
    of the same command may mean another task by it. Who has taken a task keeps it. Those
    of modules stay: a module that is imported once more registers nothing.
    """
    before = registry.task_names()
    try:
        yield
    finally:
        made = registry.task_names() - before
        for name in made - tasks_of_modules():
            registry.remove(name)
