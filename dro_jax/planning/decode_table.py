"""A plan of decoding as a table for people."""

from collections.abc import Iterator

from dro_jax.planning.decode_plan import DecodePlan, PlannedProgram
from dro_jax.planning.table import aligned, devices_told
from dro_jax.plurals import counted

_GIB = 2**30


def decode_table(plan: DecodePlan) -> str:
    """A line for each thing that is known."""
    return aligned(_lines(plan))


def _lines(plan: DecodePlan) -> Iterator[tuple[str, str]]:
    told, batch = plan.to_json(), plan.batch
    yield "devices", devices_told(told)
    scanned = ", layers scanned" * told["scan_layers"]
    yield "settings", f"{told['dtype']}, cache {told['cache_dtype']}{scanned}"
    yield "parameters", f"policy {plan.parameters / 1e6:,.1f} million"
    yield (
        "a batch",
        (
            f"{counted(batch['prompts'], 'prompt')} of {batch['inputs']} tokens, "
            f"{batch['num_samples']} × {batch['targets']} tokens to each"
        ),
    )
    yield from _program("prompts", plan.encoding, "")
    if plan.step is not None:
        cache = f" (cache {plan.cache_bytes / _GIB:.2f})"
        yield from _program("a token", plan.step, cache)
    yield "fits", _fits(plan)
    if plan.tokens_per_second is not None:
        yield (
            "tokens a second",
            (
                f"at most {plan.tokens_per_second:,.0f}, or "
                f"{plan.tokens_per_second_with_prompts:,.0f} with the prompts encoded"
            ),
        )


def _program(
    name: str, program: PlannedProgram, of_state: str
) -> Iterator[tuple[str, str]]:
    memory, costs = program.compilation.memory, program.costs
    yield (
        f"{name}: memory",
        (
            f"state {memory.state_bytes / _GIB:.2f}{of_state} + temporary "
            f"{memory.temporary_bytes / _GIB:.2f} + program "
            f"{memory.code_bytes / _GIB:.2f} GiB a device"
        ),
    )
    if costs is None:
        return
    exchanges = ", ".join(
        f"{traffic.count:,} {kind}"
        for kind, traffic in sorted(costs.collectives.items())
    )
    yield (
        f"{name}: work",
        (
            f"{costs.flops:.3g} FLOPs and {costs.bytes / 1e9:,.3f} GB a device"
            + (f", {exchanges}" if exchanges else "")
        ),
    )
    if program.roofline is not None:
        least = program.roofline
        yield (
            f"{name}: least time",
            f"{least.seconds * 1e3:.3f} ms, bound by {least.bound}",
        )


def _fits(plan: DecodePlan) -> str:
    available = plan.encoding.compilation.memory.available_bytes
    if available is None:
        return "the compiler takes it; how much memory there is, is not known"
    there = f"{available / _GIB:.2f} GiB a device"
    if plan.fits:
        return f"yes, with {plan.spare:.0%} of {there} to spare"
    return f"no: there are {there}"
