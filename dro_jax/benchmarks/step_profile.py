"""Where a train step's time goes, part by part of the network, from XLA's own profile."""

import collections
import gzip
import json
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping

import jax

from dro_jax.benchmarks.timing import Figure, Figures
from dro_jax.errors import UserError
from dro_jax.planning.hlo_text import Program
from dro_jax.training.mesh_steps import MeshSteps

# The first pattern that an operation's name holds says which part it belongs to.
_PARTS = {
    "attention": r"attention\._attend|relpos_bias",
    "projections": r"attention",
    "feed_forward": r"/mlp/",
    "embedding": r"token_embedder",
    "norms_and_residuals": r"norm|_residual",
    "logits": r"while/body|logits",
}
_OTHERS = "optimizer_and_rest"
_NAME = r'op_name="([^"]*)"'


def measure(steps: MeshSteps, run: Callable[[], None]) -> Figures:
    """The share of each part in the time of all operations.

    Operations that run at once on several cores count each with its own time.

    Args:
      steps: whose train step is profiled.
      run: runs it, compiled already.

    Raises:
      UserError: the profile has no operation of the step.
    """
    compiled = steps.lower_train(frozen_copy=False).compile()
    part_of = _parts_by_operation(Program.parse(compiled.as_text()))
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory(prefix="dro_jax_profile_") as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            run()
        totals = collections.Counter()
        for name, time in _events(pathlib.Path(folder)):
            if name in part_of:
                totals[part_of[name]] += time
    return shares(totals)


def shares(totals: Mapping[str, float]) -> Figures:
    """Each part's share in the time of all.

    Raises:
      UserError: no time was measured.
    """
    every = sum(totals.values())
    if not every:
        raise UserError(
            "XLA's profile of the train step has no operation of it, so there are no "
            "shares: another profiler may be running in this process, or this "
            "backend's events have other names than its program's operations"
        )
    return {
        f"step.time_share_{part}": Figure.exact(totals[part] / every)
        for part in (*_PARTS, _OTHERS)
        if totals.get(part)
    }


def _parts_by_operation(program: Program) -> dict[str, str]:
    """Of each instruction that may run by itself."""
    found = {}
    for computation in program.computations.values():
        for instruction in computation:
            # What a loop or a branch calls has events of its own.
            if instruction.opcode not in ("while", "conditional", "call"):
                name = instruction.attribute(_NAME) or ""
                found[instruction.name] = _part(name)
    return found


def _part(name: str) -> str:
    matches = (part for part, pattern in _PARTS.items() if re.search(pattern, name))
    return next(matches, _OTHERS)


def _events(folder: pathlib.Path) -> Iterator[tuple[str, float]]:
    """Names and microseconds."""
    for path in folder.rglob("*.trace.json.gz"):
        for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]:
            if event.get("ph") == "X":
                yield event["name"], event["dur"]
