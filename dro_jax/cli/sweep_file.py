"""A sweep's description, read from gin files."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_files import GinFiles
from dro_jax.cli.gin_names import check_names
from dro_jax.cli.gin_values import typed_statements
from dro_jax.errors import ConfigError
from dro_jax.sweeps.sweep import Sweep

MACRO = "SWEEP"
_FAST = "_fast.gin"


def read_sweep(
    files: Sequence[str],
    bindings: Sequence[str] = (),
    search_paths: str = "",
    allow_imports: Sequence[str] = (),
    *,
    fast: bool = False,
) -> Sweep:
    """What the files describe.

    Args:
      files, bindings, search_paths, allow_imports: as for `gin_setup.parse`.
      fast: read the quick variants that stand beside the files, too.

    Raises:
      ConfigError: they describe no sweep, or there is no quick variant.
    """
    if not files:
        raise ConfigError(
            "no --gin_file is given: a sweep is described by one, for example "
            "gin_configs/sweeps/quickstart.gin"
        )
    read = [*files, *_fast_variants(files, search_paths)] if fast else files
    # Before what a run's file imports is imported.
    folders = [path for path in search_paths.split(",") if path]
    statements = GinFiles(read, folders).statements
    described = Configuration.of(statements)
    if MACRO not in described.macros:
        raise ConfigError(
            f"the gin files set no {MACRO}: a sweep's file sets {MACRO} = "
            "@sweeps.Sweep() (docs/sweep.md); what sets none is a run's file, for "
            "`dro-jax train`"
        )
    check_names(statements, typed_statements(bindings, described), _refuse_unused)
    gin_setup.parse(read, bindings, search_paths, allow_imports)
    sweep = gin_setup.macro(MACRO)
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"{MACRO} = {sweep!r:.80} is no sweep: set @sweeps.Sweep()")
    if sweep.name is None:
        name = pathlib.PurePath(files[-1]).stem
        sweep = dataclasses.replace(sweep, name=f"{name} (fast)" if fast else name)
    return sweep


def _refuse_unused(sentence: str) -> None:
    raise ConfigError(
        f"--gin: {sentence}: a sweep gives settings to its runs by an axis, or by its "
        "stages' bindings"
    )


def _fast_variants(files: Sequence[str], search_paths: str) -> list[str]:
    folders = [path for path in search_paths.split(",") if path]
    found = []
    for name in files:
        beside = f"{os.path.splitext(name)[0]}{_FAST}"
        try:
            GinFiles([beside], folders)
        except ConfigError as error:
            if "cannot be found" not in str(error):
                raise
        else:
            found.append(beside)
    if not found:
        raise ConfigError(
            f"--fast reads NAME{_FAST} beside NAME.gin, and there is none beside "
            f"{', '.join(files)}"
        )
    return found
