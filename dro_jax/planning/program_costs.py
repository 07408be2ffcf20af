"""What a compiled program costs, its loops counted by their trips.

The compiler's own totals count a loop's body once.
"""

import dataclasses
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping

from dro_jax.planning.collectives import Collective, begun, collective_of
from dro_jax.planning.hlo_text import Computation, Instruction, Program
from dro_jax.planning.loops import trip_count
from dro_jax.planning.movers import Moved, Movers, Sources, summed
from dro_jax.planning.products import product_flops
from dro_jax.planning.traffic import Counts, in_main_memory, moved_bytes


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Exchanges of one kind.

    Attributes:
      count: how many.
      bytes, sent_bytes: of all, as a `Collective`'s.
      beside_bytes: of `sent_bytes`, those of exchanges that the program ends only after
        matrix products that do not wait for them.
    """

    count: int = 0
    bytes: int = 0
    sent_bytes: float = 0.0
    beside_bytes: float = 0.0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(*map(operator.add, self._numbers(), other._numbers()))

    def times(self, count: int) -> "Traffic":
        """Of as many runs."""
        return Traffic(*(number * count for number in self._numbers()))

    def _numbers(self):
        return dataclasses.astuple(self)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What one device does in a run of a program.

    Attributes:
      flops: of matrix products.
      bytes: moved to and from its main memory.
      collectives: what it exchanges with others, by kind.
      unknown_loops: loops of which no count of trips was found: counted once.
      movers: the bytes by what moves them.
    """

    flops: int = 0
    bytes: int = 0
    collectives: Mapping[str, Traffic] = dataclasses.field(default_factory=dict)
    unknown_loops: int = 0
    movers: Movers = dataclasses.field(default_factory=dict)

    @property
    def sent_bytes(self) -> float:
        """Of all exchanges."""
        return sum(traffic.sent_bytes for traffic in self.collectives.values())

    @classmethod
    def of_all(cls, parts: Iterable["Costs"]) -> "Costs":
        """Of one after another."""
        parts = list(parts)
        return cls(
            sum(part.flops for part in parts),
            sum(part.bytes for part in parts),
            _all_traffic(part.collectives for part in parts),
            sum(part.unknown_loops for part in parts),
            summed(part.movers for part in parts),
        )

    def times(self, count: int) -> "Costs":
        """Of as many runs."""
        return Costs(
            self.flops * count,
            self.bytes * count,
            {kind: found.times(count) for kind, found in self.collectives.items()},
            self.unknown_loops,
            {source: moved.times(count) for source, moved in self.movers.items()},
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
    counter = _Counter(program, Sources(text, program), num_devices, counts)
    return counter.of(program.entry)


class _Counter:
    """Adds up computations, each once."""

    def __init__(
        self, program: Program, sources: Sources, num_devices: int, counts: Counts
    ):
        self._program, self._sources = program, sources
        self._num_devices, self._counts = num_devices, counts
        self._begun = begun(program)
        self._known: dict[str, Costs] = {}

    def of(self, name: str) -> Costs:
        """Those of a computation that is not fused into another."""
        if name not in self._known:
            computation = self._program.computations[name]
            seen, found = set[Collective](), dict[str, Costs]()
            # In the order in which they run, where the compiler has made one.
            for instruction in computation:
                costs = self._of_instruction(computation, instruction, seen)
                found[instruction.name] = costs
                start = computation.operand(instruction, 0)
                if start is not None and _ends(instruction, start):
                    between = _since(found, start.name)
                    if any(costs.flops for costs in between):
                        found[start.name] = _beside(found[start.name])
            self._known[name] = Costs.of_all(found.values())
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
            body = self.of(instruction.called("body")[0])
            unknown = Costs(unknown_loops=int(trips is None))
            return Costs.of_all([body.times(1 if trips is None else trips), unknown])
        if opcode in ("call", "async-start"):
            called = instruction.called("to_apply", "calls")
            return Costs.of_all(map(self.of, called))
        if opcode == "conditional":
            branches = instruction.called(
                "branch_computations", "true_computation", "false_computation"
            )
            return max(map(self.of, branches), key=lambda c: (c.flops, c.bytes))
        inside = self._inside(computation, instruction, seen)
        moved = moved_bytes(self._program, computation, instruction, self._counts)
        if not moved:
            return inside
        source = self._sources.of(computation, instruction)
        return dataclasses.replace(
            inside, bytes=moved, movers={source: Moved(moved, 1)}
        )

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
            return Costs.of_all(
                self._inside(inner, part, seen, fused=True) for part in inner
            )
        exchange = collective_of(computation, instruction, self._num_devices)
        if exchange is None:
            return Costs(flops=product_flops(computation, instruction))
        # One that goes on beside several fusions, and through loops, is written into
        # each of them: it counts where it begins, or else at the first.
        begin = self._begun.get(exchange.channel, instruction)
        if begin is not instruction or (fused and exchange in seen):
            return Costs()
        if fused and exchange.channel is not None:
            seen.add(exchange)
        traffic = Traffic(1, exchange.bytes, exchange.sent_bytes)
        if exchange.channel in self._begun:  # it goes on in fusions, of products
            traffic = dataclasses.replace(traffic, beside_bytes=exchange.sent_bytes)
        return Costs(collectives={exchange.kind: traffic})


def _ends(instruction: Instruction, begun: Instruction) -> bool:
    """Whether one waits for what another has begun."""
    opcode = instruction.opcode
    return opcode.endswith("-done") and begun.opcode == f"{opcode[:-5]}-start"


def _since(found: Mapping[str, Costs], name: str) -> Iterator[Costs]:
    """Those that were found after one."""
    return itertools.takewhile(
        lambda costs: costs is not found[name], reversed(found.values())
    )


def _beside(costs: Costs) -> Costs:
    """With exchanges that go on beside products."""
    collectives = {
        kind: dataclasses.replace(traffic, beside_bytes=traffic.sent_bytes)
        for kind, traffic in costs.collectives.items()
    }
    return dataclasses.replace(costs, collectives=collectives)


def _all_traffic(parts: Iterable[Mapping[str, Traffic]]) -> dict[str, Traffic]:
    total: dict[str, Traffic] = {}
    for part in parts:
        for kind, more in part.items():
            total[kind] = total.get(kind, Traffic()) + more
    return total
