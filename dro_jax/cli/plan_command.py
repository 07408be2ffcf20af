"""`dro-jax plan`."""

from collections.abc import Callable, Sequence

import gin
import jax

from dro_jax.cli import gin_setup, plan_each, vocabulary_size
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.plan_placeholders import PLACEHOLDERS
from dro_jax.cli.sampling_flags import decoding_of
from dro_jax.errors import ConfigError
from dro_jax.messages import note, say
from dro_jax.planning.decode_plan import plan_decoding
from dro_jax.planning.decode_table import decode_table
from dro_jax.planning.report import PlanReport, plan
from dro_jax.planning.search import (
    NOTHING_FOUND,
    Change,
    Found,
    Start,
    advice,
    changes,
    has_enough,
    search,
)
from dro_jax.planning.table import movers_table, table
from dro_jax.planning.topologies import slice_of
from dro_jax.training.run_settings import RunSettings
from dro_jax.training.train import train


def run(arguments) -> None:
    """Plan what the gin files describe.

    Raises:
      ConfigError: it does not fit, or a flag has a wrong value.
    """
    _check_flags(arguments)
    movers = arguments.movers
    if arguments.each is not None:
        plan_each.run(arguments)
        return
    topology = arguments.topology or plan_each.slice_named_by(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
    )
    if topology is not None:
        # This machine's own accelerator stays free: nothing is computed.
        jax.config.update("jax_platforms", "cpu")
    given = (arguments.gin_file, arguments.gin_bindings, arguments.gin_search_paths)
    options = {
        "allow_imports": arguments.allow_import,
        "topology": topology,
    }
    if arguments.decode:
        _plan_decoding(arguments, given, options)
        return
    report = found = None
    start = _start_from_gin(*given, **options) if arguments.search else None
    # Of a batch that does not divide, what makes it divide is searched.
    if start is None or start.divides or not any(changes(start)):
        report = plan_from_gin(*given, **options)
    written = {} if report is None else report.to_json()
    if movers is not None and report is not None:
        written["movers"] = report.movers(movers)
    if start is not None and (report is None or not has_enough(report)):
        if report is not None:
            print(f"{table(report)}\n")
        found = search_from_gin(start, *given, **options)
        written["search"] = found.to_json()
    if arguments.json is not None:
        arguments.json.write_json(written)
    if found is not None and found.found is not None:
        change, better = found.found
        print(f"with {change.flags()}")
        _print(better, movers)
        return
    if found is None:
        _print(report, movers)
    if report is None or not report.fits:
        where = slice_of(topology).name or "this machine"
        what_to_do = advice(report) if found is None else NOTHING_FOUND
        raise ConfigError(f"the run does not fit {where}. {what_to_do}")
    if found is not None:
        note(NOTHING_FOUND)


def _check_flags(arguments) -> None:
    """Refuses flags that cannot be used, or would have no effect.

    Raises:
      ConfigError: there are any, or one has a wrong value.
    """
    if arguments.movers is not None and arguments.movers < 1:
        raise ConfigError(f"--movers must be at least 1, got {arguments.movers}")
    several = arguments.decode or arguments.each is not None
    if several and arguments.movers is not None:
        raise ConfigError("--movers is for one train step: leave --decode, --each out")
    if arguments.decode and (arguments.each is not None or arguments.search):
        raise ConfigError("--decode plans one run as it is: leave --each, --search out")
    if not arguments.decode and (arguments.num_samples, arguments.cache_dtype) != (
        1,
        None,
    ):
        raise ConfigError(
            "--num_samples and --cache_dtype are for --decode: give it too"
        )


def _plan_decoding(arguments, given, options) -> None:
    """Plan how the policy answers prompts.

    Raises:
      ConfigError: it does not fit, or an option is out of its range.
    """
    config = decoding_of(arguments)
    devices = slice_of(options["topology"])
    settings = settings_from_gin(*given, allow_imports=options["allow_imports"])
    where = devices.name or "this machine"
    say(f"compiling for {where}: {len(devices.devices)} × {devices.kind} …")
    found = plan_decoding(settings, devices, config)
    if arguments.json is not None:
        arguments.json.write_json(found.to_json())
    print(decode_table(found))
    if not found.fits:
        raise ConfigError(
            f"decoding does not fit {where}: lower BATCH_SIZE or --num_samples, cache in "
            "bfloat16 (--cache_dtype), or raise MODEL_PARALLEL"
        )


def _print(report: PlanReport, movers: int | None) -> None:
    print(table(report))
    if movers is not None and report.costs is not None:
        print(f"\n{movers_table(report, movers)}")


def plan_from_gin(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
    topology: str | None = None,
    tell: Callable[[str], None] = note,
) -> PlanReport:
    """Parses, and compiles the run's train step for a slice.

    Args:
      files: as those of `gin_setup.parse`, like the next two and `allow_imports`. What
        only a run needs may be missing: `MODEL_DIR`, data, vocabulary, checkpoint.
      bindings: `NAME = VALUE`.
      search_paths: folders, comma-separated.
      allow_imports: modules that the files may use beside the usual ones.
      topology: `v5e:4x4`; None, this machine's devices.
      tell: is given a sentence about what is assumed.

    Returns:
      The report; its `fits` says whether memory is enough.

    Raises:
      ConfigError: as `gin_setup.parse`; the topology is unknown, or settings do not fit
        it.
    """
    devices = slice_of(topology)
    settings = settings_from_gin(
        files, bindings, search_paths, allow_imports=allow_imports, tell=tell
    )
    where = devices.name or "this machine"
    say(f"compiling for {where}: {len(devices.devices)} × {devices.kind} …")
    return plan(settings, devices)


def _start_from_gin(files, bindings, search_paths="", *, allow_imports, topology):
    settings = settings_from_gin(
        files,
        bindings,
        search_paths,
        allow_imports=allow_imports,
        tell=lambda sentence: None,  # the plan tells it
    )
    return Start.of(settings, slice_of(topology))


def search_from_gin(
    start: Start,
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
    topology: str | None = None,
) -> Found:
    """Tries settings that save memory until the run has enough to spare.

    Args:
      start: the run as it is; the rest as for :func:`plan_from_gin`.
      files, bindings, search_paths, allow_imports, topology: as there.
    """

    def plan_with(change: Change) -> PlanReport:
        return plan_from_gin(
            files,
            [*bindings, *change.bindings()],
            search_paths,
            allow_imports=allow_imports,
            topology=topology,
            tell=lambda sentence: None,  # it was told of the run as it is
        )

    return search(start, plan_with, say)


def settings_from_gin(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: str = "",
    *,
    allow_imports: Sequence[str] = (),
    tell: Callable[[str], None] = note,
) -> RunSettings:
    """The settings of a run, its data and checkpoint left aside; as `plan_from_gin`."""
    gin_setup.parse(
        files, bindings, search_paths, allow_imports, placeholders=PLACEHOLDERS
    )
    _leave_tasks_aside()
    if gin_setup.macro(vocabulary_size.MACRO, default=0) is None:
        tell(
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
