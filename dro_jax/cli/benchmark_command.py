"""`dro-jax benchmark`."""

import os
import platform
import sys

import jax

from dro_jax.benchmarks import (
    async_save,
    data,
    decode,
    logprob,
    logratio_noise,
    packing,
    reference_cache,
    start,
    step,
    workload,
)
from dro_jax.benchmarks.timing import Figures
from dro_jax.errors import ConfigError

_PARTS = {
    "step": step.measure,
    "packing": packing.measure,
    "reference_cache": reference_cache.measure,
    "logprob": logprob.measure,
    "async_save": async_save.measure,
    "logratio_noise": logratio_noise.measure,
    "decode": decode.measure,
    "data": data.measure,
    "start": start.measure,
}


def run(arguments) -> None:
    """Measure, print a table, write JSON."""
    if arguments.rounds < 1:
        raise ConfigError(f"--rounds = {arguments.rounds}: give at least 1")
    parts = arguments.only or _PARTS
    settings = {"records": arguments.records, "data_dir": arguments.data_dir}
    given = {name: value for name, value in settings.items() if value is not None}
    if given and "data" not in parts:
        raise ConfigError(f"--{next(iter(given))} is for --only data: remove it")
    if any(count < 1 for count in arguments.records or ()):
        raise ConfigError("--records: give numbers of 1 or more")
    figures: Figures = {}
    for name in parts:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        more = given if name == "data" else {}
        figures |= _PARTS[name](arguments.rounds, **more)
    for line in _table(figures):
        print(line)
    if arguments.json:
        report = {
            "machine": _machine(),
            "rounds": arguments.rounds,
            "data": workload.dataset(pack=True).name,
        }
        for name, figure in figures.items():
            report[name] = figure.median
            report[f"{name}.spread"] = [figure.low, figure.high]
        arguments.json.write_json(report)


def _table(figures: Figures) -> list[str]:
    width = max(map(len, figures))
    lines = [f"{'figure':{width}}  {'median':>10}  spread"]
    for name, figure in figures.items():
        spread = ""
        if figure.low != figure.high:
            spread = f"{figure.low:.4g} to {figure.high:.4g}"
        lines.append(f"{name:{width}}  {figure.median:10.4g}  {spread}".rstrip())
    return lines


def _machine() -> dict[str, str | int]:
    return {
        "devices": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
