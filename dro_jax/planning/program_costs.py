"""What a compiled program costs, its loops counted by their trips.

The compiler's own totals count a loop's body once.
"""

import dataclasses
from collections.abc import Mapping

from dro_jax.planning.collectives import Collective, collective_of
from dro_jax.planning.hlo_text import Computation, Instruction, Program
from dro_jax.planning.loops import trip_count
from dro_jax.planning.products import product_flops
from dro_jax.planning.traffic import Counts, in_main_memory, moved_bytes


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Exchanges of one kind.

    Attributes:
      count: how many.
      bytes, sent_bytes: of all, as a `Collective`'s.
    """

    count: int = 0
    bytes: int = 0
    sent_bytes: float = 0.0


@dataclasses.dataclass(frozen=True)
class Costs:
    """What one device does in a run of a program.

    Attributes:
      flops: of matrix products.
      bytes: moved to and from its main memory.
      collectives: what it exchanges with others, by kind.
      unknown_loops: loops of which no count of trips was found: counted once.
    """

    flops: int = 0
    bytes: int = 0
    collectives: Mapping[str, Traffic] = dataclasses.field(default_factory=dict)
    unknown_loops: int = 0

    @property
    def sent_bytes(self) -> float:
        """Of all exchanges."""
        return sum(traffic.sent_bytes for traffic in self.collectives.values())

    def __add__(self, other: "Costs") -> "Costs":
        kinds = {**self.collectives, **other.collectives}
        return Costs(
            self.flops + other.flops,
            self.bytes + other.bytes,
            {kind: _sum(self, other, kind) for kind in kinds},
            self.unknown_loops + other.unknown_loops,
        )

    def times(self, count: int) -> "Costs":
        """Of as many runs."""
        return Costs(
            self.flops * count,
            self.bytes * count,
            {
                kind: Traffic(t.count * count, t.bytes * count, t.sent_bytes * count)
                for kind, t in self.collectives.items()
            },
            self.unknown_loops,
        )


def program_costs(
    text: str, num_devices: int, counts: Counts = in_main_memory
) -> Costs:
    """The costs of a compiled program.

    Args:
      text: `jax.stages.Compiled.as_text()`.
      num_devices: that it is partitioned over.
      counts: the arrays whose traffic is counted.

    Raises:
      ValueError: the text is no program.
    """
    program = Program.parse(text)
    return _Counter(program, num_devices, counts).of(program.entry)


class _Counter:
    """Adds up computations, each once."""

    def __init__(self, program: Program, num_devices: int, counts: Counts):
        self._program, self._num_devices = program, num_devices
        self._counts = counts
        self._known: dict[str, Costs] = {}

    def of(self, name: str) -> Costs:
        """Those of a computation that is not fused into another."""
        if name not in self._known:
            computation = self._program.computations[name]
            total, seen = Costs(), set[Collective]()
            for instruction in computation:
                total += self._of_instruction(computation, instruction, seen)
            self._known[name] = total
        return self._known[name]

    def _of_instruction(
        self,
        computation: Computation,
        instruction: Instruction,
        seen: set[Collective],
    ) -> Costs:
        opcode = instruction.opcode
        if opcode == "while":
            trips = trip_count(self._program, computation, instruction)
            unknown = Costs(unknown_loops=int(trips is None))
            body = self.of(instruction.called("body")[0])
            return body.times(1 if trips is None else trips) + unknown
        if opcode in ("call", "async-start"):
            called = instruction.called("to_apply", "calls")
            return sum(map(self.of, called), Costs())
        if opcode == "conditional":
            branches = instruction.called(
                "branch_computations", "true_computation", "false_computation"
            )
            return max(map(self.of, branches), key=lambda c: (c.flops, c.bytes))
        moved = moved_bytes(self._program, computation, instruction, self._counts)
        return self._inside(computation, instruction, seen) + Costs(bytes=moved)

    def _inside(
        self,
        computation: Computation,
        instruction: Instruction,
        seen: set[Collective],
        *,
        fused: bool = False,
    ) -> Costs:
        """Arithmetic and exchanges of an instruction and of what is fused into it."""
        if instruction.opcode == "fusion":
            inner = self._program.computations[instruction.called("calls")[0]]
            parts = [self._inside(inner, part, seen, fused=True) for part in inner]
            return sum(parts, Costs())
        exchange = collective_of(computation, instruction, self._num_devices)
        if exchange is None:
            return Costs(flops=product_flops(computation, instruction))
        # One that goes on beside several fusions is written into each of them.
        if fused and exchange in seen:
            return Costs()
        if fused and exchange.channel is not None:
            seen.add(exchange)
        traffic = Traffic(1, exchange.bytes, exchange.sent_bytes)
        return Costs(collectives={exchange.kind: traffic})


def _sum(one: Costs, other: Costs, kind: str) -> Traffic:
    a = one.collectives.get(kind, Traffic())
    b = other.collectives.get(kind, Traffic())
    return Traffic(a.count + b.count, a.bytes + b.bytes, a.sent_bytes + b.sent_bytes)
