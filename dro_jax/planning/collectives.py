"""What a compiled program's devices send one another."""

import dataclasses
import math
import re

from dro_jax.planning.hlo_text import Computation, Instruction, Program, arrays
from dro_jax.planning.traffic import result_of

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)
_CHANNEL = r"channel_id=(\d+)"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange, of one device.

    Attributes:
      kind: its name in `KINDS`.
      bytes: of the larger of what a device gives and what it gets.
      sent_bytes: what a device sends at least, by the best algorithm: of an all-gather
        among n devices, ``(n − 1)/n`` of its result; of an all-reduce twice that.
      channel: its number in the program; None where it has none.
    """

    kind: str
    bytes: int
    sent_bytes: float
    channel: str | None


def collective_of(
    computation: Computation, instruction: Instruction, num_devices: int
) -> Collective | None:
    """The exchange that an instruction is or begins; None where it is none.

    Args:
      computation: the instruction's own.
      instruction: any.
      num_devices: those of the program.
    """
    kind = instruction.opcode.removesuffix("-start")
    if kind not in KINDS:
        return None
    operands = [computation.get(name) for name in instruction.operands]
    given = sum(a.bytes for o in operands if o is not None for a in arrays(o.type))
    got = sum(array.bytes for array in arrays(result_of(instruction)))
    size = max(given, got)
    among = _group_size(instruction, num_devices)
    share = (among - 1) / among
    factor = {"all-reduce": 2 * share, "collective-permute": 1.0}.get(kind, share)
    channel = instruction.attribute(_CHANNEL)
    return Collective(kind, size, factor * size, channel)


def begun(program: Program) -> dict[str, Instruction]:
    """By their channel, exchanges of which the program says where they begin."""
    found = {}
    for computation in program.computations.values():
        for instruction in computation:
            if "AsyncCollectiveStart" not in instruction.attributes:
                continue
            for number in range(len(instruction.operands)):
                operand = computation.operand(instruction, number)
                channel = operand and operand.attribute(_CHANNEL)
                if channel is not None:
                    found[channel] = operand
    return found


def _group_size(instruction: Instruction, num_devices: int) -> int:
    """Devices that take part together."""
    groups = instruction.attribute(r"replica_groups=(.*)") or ""
    if match := re.match(r"\{\{([\d,]+)\}", groups):
        return len(match[1].split(","))
    if match := re.match(r"\[\d+,(\d+)\]", groups):
        return int(match[1])
    # Axes of a mesh by their names: mesh['a'=4,'b'=2] {'a'}
    if match := re.match(r"mesh\[(.*?)\]\s*\{(.*?)\}", groups):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        named = re.findall(r"'(\w+)'", match[2])
        return math.prod(int(sizes[axis]) for axis in named if axis in sizes)
    return num_devices
