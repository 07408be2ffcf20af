"""Whether modules register a task: `python -m dro_jax.cli.look_up_task NAME [MODULE …]`.

A program of its own, since it imports whatever the modules import.
"""

import sys

from dro_jax.data import registry
from dro_jax.data.modules import import_modules, look_in_current_folder
from dro_jax.data.task_names import unknown_name
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE, REFUSED

_NAMED_BY = "MIXTURE_OR_TASK_MODULE"


def main(name: str, *modules: str) -> int:
    """Prints why not, where no task or mixture has the name."""
    try:
        look_in_current_folder(modules, _NAMED_BY)
        import_modules(modules)
        if name not in registry.task_names() | registry.mixture_names():
            raise unknown_name(name, ", ".join(modules))
    except ConfigError as error:
        print(f"dro-jax launch: {error}", file=sys.stderr)
        return REFUSED.number
    return DONE.number


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
