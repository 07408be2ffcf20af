"""Settings in which several runs differ, for their report."""

import dataclasses
from collections.abc import Sequence

from dro_jax.cli.configuration_diff import NOT_SET, Configuration, differences
from dro_jax.errors import ConfigError
from dro_jax.messages import note
from dro_jax.reporting.reported_run import ReportedRun


def with_differences(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Runs with the settings in which they differ, found by their `config` alone.

    Each is compared with the first that has settings; what changes no step, as folders
    and meshes, is left out. Nothing of a configuration is called or imported.

    Args:
      runs: as :meth:`ReportedRun.of_folder` gives them.
    """
    known = {run.label: found for run in runs if (found := parsed(run)) is not None}
    if not known:
        return list(runs)
    first, *others = known
    unlike = {label: differences(known[first], known[label]) for label in others}
    common = {one.name: one.old for found in unlike.values() for one in found}
    distinct = {first: common}
    for label, found in unlike.items():
        distinct[label] = common | {one.name: one.new for one in found}
    distinct = {
        label: {name: value for name, value in found.items() if value != NOT_SET}
        for label, found in distinct.items()
    }
    return [
        dataclasses.replace(run, distinct=distinct[run.label])
        if run.label in distinct
        else run
        for run in runs
    ]


def parsed(run: ReportedRun) -> Configuration | None:
    """A run's settings as statements; None where it has none that are gin."""
    if not run.config:
        return None
    try:
        return Configuration.parse(run.config, f"config.gin of {run.label}")
    except ConfigError as error:
        note(f"the settings of {run.label} are shown, and not compared: {error}")
        return None
