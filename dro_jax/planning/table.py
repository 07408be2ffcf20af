"""A plan as a table for people."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dro_jax.planning.report import PlanReport
from dro_jax.plurals import counted

_GIB = 2**30
_MOVERS_HEAD = (
    *("", "layer", "pass", "its largest line", "GB a step", "share"),
    "instructions a step",
)


def table(report: PlanReport) -> str:
    """A line for each thing that is known."""
    return aligned(_lines(report))


def aligned(lines: Iterable[tuple[str, str]]) -> str:
    """Names and values, a line each, the values one below the other."""
    lines = list(lines)
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def devices_told(told: Mapping[str, Any]) -> str:
    """The devices of a plan's JSON."""
    sizes = ", ".join(f"{name} {size}" for name, size in told["mesh"].items())
    where = told["topology"] or "this machine"
    return f"{where}: {told['devices']} × {told['device_kind']} ({sizes})"


def movers_table(report: PlanReport, count: int) -> str:
    """The largest movers of bytes in Markdown, a line each.

    Args:
      report: of a run that fits.
      count: the most that are listed.
    """
    rows = [_MOVERS_HEAD, ("---",) * len(_MOVERS_HEAD)]
    for number, mover in enumerate(report.movers(count), 1):
        rows.append(
            (
                str(number),
                f"`{mover['layer']}`",
                mover["pass"],
                f"`{mover['line']}`" if mover["line"] else "",
                f"{mover['bytes'] / 1e9:,.2f}",
                f"{mover['share']:.1%}",
                f"{mover['count']:,}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    told = report.to_json()
    yield "devices", devices_told(told)
    yield "settings", _settings(told)
    yield "parameters", _parameters(told["parameters"])
    yield "a batch", _batch(told["batch"])
    yield from _memory(report, told)
    yield from _arithmetic(report, told)
    yield "compile time", f"{told['compile_seconds']:.0f} s"


def _settings(told) -> str:
    settings = told["settings"]
    parts = [settings["objective"], settings["dtype"]]
    parts += ["FSDP"] * settings["fsdp"]
    parts += [f"remat {settings['remat_policy']}"]
    parts += ["layers scanned"] * settings["scan_layers"]
    if settings["num_microbatches"] > 1:
        parts.append(f"{settings['num_microbatches']} microbatches")
    if settings["reference"] is not None:
        parts.append(f"reference {settings['reference']}")
    return ", ".join(parts)


def _parameters(counts) -> str:
    policy = f"{counts['policy'] / 1e6:,.1f} million"
    if not counts["value"]:
        return policy
    return f"{policy}, value {counts['value'] / 1e6:,.1f} million"


def _batch(batch) -> str:
    text = f"{counted(batch['rows'], 'row')} of {batch['inputs']} + {batch['targets']} tokens"
    if batch["trajectories_per_row"] > 1:
        text += f", {batch['trajectories_per_row']} places for trajectories in each"
    return text


def _memory(report: PlanReport, told) -> Iterator[tuple[str, str]]:
    memory = told["memory"]
    parts = [
        f"state {_gib(memory['state_bytes'])}",
        f"temporary {_gib(memory['temporary_bytes'])}",
        f"program {_gib(memory['code_bytes'])}",
    ]
    if memory["reference_bytes"]:
        parts[0] += f" (frozen reference {_gib(memory['reference_bytes'])})"
    yield "memory a device", " + ".join(parts) + " GiB"
    if memory["available_bytes"] is None:
        yield "fits", "the compiler takes it; how much memory there is, is not known"
        return
    there = f"{_gib(memory['available_bytes'])} GiB a device"
    if report.fits:
        yield "fits", f"yes, with {report.spare:.0%} of {there} to spare"
    else:
        yield "fits", f"no: there are {there}"


def _arithmetic(report: PlanReport, told) -> Iterator[tuple[str, str]]:
    model, costs = told["flops"]["model"], report.costs
    if costs is None:
        yield "FLOPs a step", f"model {model:.3g}"
        return
    compiled = told["flops"]["compiled"]
    yield "FLOPs a step", f"model {model:.3g}, compiled {compiled:.3g}"
    yield "bytes a device", f"{costs.bytes / 1e9:,.1f} GB a step to and from its memory"
    for kind, traffic in sorted(costs.collectives.items()):
        beside = traffic.beside_bytes / max(traffic.sent_bytes, 1)
        yield (
            kind,
            (
                f"{traffic.count:,} a step, {traffic.bytes / 1e9:,.2f} GB a device, "
                f"{beside:.0%} beside products"
            ),
        )
    if report.costs.unknown_loops:
        yield (
            "not counted",
            (
                f"{report.costs.unknown_loops} loops whose trips are not known count once"
            ),
        )
    if report.roofline is not None:
        terms = {
            "arithmetic": report.roofline.compute,
            "memory": report.roofline.memory,
            "links": report.roofline.interconnect,
        }
        each = ", ".join(f"{n} {s:.3f}" for n, s in terms.items() if s is not None)
        yield (
            "least time a step",
            (
                f"{report.roofline.seconds:.3f} s, bound by {report.roofline.bound} ({each})"
            ),
        )


def _gib(count: int) -> str:
    return f"{count / _GIB:.2f}"
