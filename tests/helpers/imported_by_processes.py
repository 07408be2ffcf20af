"""What `several_processes` imports once for all its processes: `dro-jax train`, whole.

JAX must not start here: each process gives it devices of its own.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

from dro_jax.cli.main import _import_command

_import_command("train_command")
import dro_jax.tasks.jsonl  # noqa: F401
