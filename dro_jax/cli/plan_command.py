"""`dro-jax plan`."""

from collections.abc import Sequence

import gin
import jax

from dro_jax.cli import gin_setup, vocabulary_size
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.plan_placeholders import PLACEHOLDERS
from dro_jax.messages import note, say
from dro_jax.planning.report import PlanReport, plan
from dro_jax.planning.table import table
from dro_jax.planning.topologies import Slice, slice_of
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.train import train


def run(arguments) -> None:
    """Plan what the gin files describe."""
    if arguments.topology is not None:
        # This machine's own accelerator stays free: nothing is computed.
        jax.config.update("jax_platforms", "cpu")
    report = plan_from_gin(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        allow_imports=arguments.allow_import,
        topology=arguments.topology,
    )
    if arguments.json is not None:
        arguments.json.write_json(report.to_json())
    print(table(report))


def plan_from_gin(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
    topology: str | None = None,
) -> PlanReport:
    """Parses, and compiles the run's train step for a slice.

    Args:
      files: as those of `gin_setup.parse`, like the next two and `allow_imports`. What
        only a run needs may be missing: `MODEL_DIR`, data, vocabulary, checkpoint.
      bindings: `NAME = VALUE`.
      search_paths: folders, comma-separated.
      allow_imports: modules that the files may use beside the usual ones.
      topology: `v5e:4x4`; None, this machine's devices.

    Returns:
      The report; its `fits` says whether memory is enough.

    Raises:
      ConfigError: as `gin_setup.parse`; the topology is unknown, or settings do not fit
        it.
    """
    devices = slice_of(topology)
    settings = settings_from_gin(
        files, bindings, search_paths, allow_imports=allow_imports
    )
    return _told(settings, devices)


def settings_from_gin(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
) -> RunSettings:
    """The settings of a run, its data and checkpoint left aside; as `plan_from_gin`."""
    gin_setup.parse(
        files, bindings, search_paths, allow_imports, placeholders=PLACEHOLDERS
    )
    _leave_tasks_aside()
    if gin_setup.macro(vocabulary_size.MACRO, default=0) is None:
        note(
            "VOCAB_SIZE is not set: T5's 32,128 rows are planned for. A run takes those "
            "of its checkpoint, or as many as its vocabulary needs"
        )
    return gin_setup.call(train, instead=lambda settings: settings)


def _leave_tasks_aside() -> None:
    """Puts a name in the place of calls that make tasks, which look at files."""
    bindings = Configuration.parse(gin.config_str(), "the configuration").bindings
    for name in bindings:
        if name.endswith(".mixture_or_task_name"):
            gin.bind_parameter(name, "not_read")


def _told(settings: RunSettings, devices: Slice) -> PlanReport:
    where = devices.name or "this machine"
    say(f"compiling for {where}: {len(devices.devices)} × {devices.kind} …")
    return plan(settings, devices)
