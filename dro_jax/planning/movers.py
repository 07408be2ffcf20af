"""Which lines of the code move the most bytes of a compiled program."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

from dro_jax.planning.hlo_text import Computation, Instruction, Program

# What JAX's transformations and control flow add to a name.
_WRAPPED = re.compile(r"(?:transpose|jvp|vmap)\((.*)\)$")
_AGAIN = "rematted_computation"
_CONTROL = ("while", "body", "closed_call", "cond", "checkpoint", _AGAIN, "")
_FRAME = re.compile(
    r"^(?P<id>\d+) (?:(?P<path>\".*\")|\{file_name_id=(?P<file>\d+)"
    r".*? line=(?P<line>\d+).*|\{file_location_id=(?P<place>\d+).*)$"
)
_FAR = 4  # a copy, its end, a tuple, and the loop that takes it
UNNAMED = "of the compiler's own"


@dataclasses.dataclass(frozen=True, order=True)
class Source:
    """What an instruction was made from.

    Attributes:
      layer: as JAX names it, `T5/decoder/mlp/wi_0`; numbers of layers are left out. Of
        what is in no layer the file, `update.py`; of what has no name the opcode.
      line: the file and line of Python, `layers.py:77`; empty where that is not known.
      backward: whether it belongs to the backward pass.
      again: whether it is computed anew there.
    """

    layer: str
    line: str = ""
    backward: bool = False
    again: bool = False

    @property
    def passed(self) -> str:
        """In which pass it runs."""
        if self.again:
            return "again"
        return "backward" if self.backward else "forward"


@dataclasses.dataclass(frozen=True)
class Moved:
    """What one source moves in a run of a program.

    Attributes:
      bytes: to and from a device's main memory.
      count: instructions that do, those of a loop as often as it runs.
    """

    bytes: int = 0
    count: int = 0

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(self.bytes + other.bytes, self.count + other.count)

    def times(self, count: int) -> "Moved":
        """Of as many runs."""
        return Moved(self.bytes * count, self.count * count)


Movers = Mapping[Source, Moved]


def summed(parts: Iterable[Movers]) -> dict[Source, Moved]:
    """Of several programs, one after another."""
    total: dict[Source, Moved] = {}
    for part in parts:
        for source, moved in part.items():
            total[source] = total.get(source, Moved()) + moved
    return total


def largest(movers: Movers, count: int) -> list[tuple[Source, Moved]]:
    """The layers and passes that move most, first, each with its largest line.

    Args:
      movers: by lines.
      count: the most that are listed.
    """
    # In the order of their bytes, so that a layer's first line is its largest.
    lines = sorted(movers.items(), key=lambda item: (-item[1].bytes, item[0]))
    first: dict[Source, Source] = {}
    layers: dict[Source, Moved] = {}
    for source, moved in lines:
        layer = dataclasses.replace(source, line="")
        told = first.setdefault(layer, source)
        layers[told] = layers.get(told, Moved()) + moved
    order = sorted(layers.items(), key=lambda item: (-item[1].bytes, item[0]))
    return order[:count]


class Sources:
    """Where a program's instructions come from.

    Args:
      text: `jax.stages.Compiled.as_text()`.
      program: read from it.
    """

    def __init__(self, text: str, program: Program):
        self._program, self._lines = program, _lines(text)
        self._readers: dict[int, dict[str, list[Instruction]]] = {}
        self._callers = {
            id(program.computations[called]): (computation, instruction)
            for computation in program.computations.values()
            for instruction in computation
            for called in instruction.called("body", "to_apply")
            if called in program.computations
        }

    def of(self, computation: Computation, instruction: Instruction) -> Source:
        """A fusion carries the name of its root; one without is looked for inside.

        What the compiler adds, as copies to the chip's memory, has that of what reads it,
        or of the loop that it is in.

        Args:
          computation: the instruction's own.
          instruction: any.
        """
        found = self._own(instruction)
        if found is not None:
            return found
        readers = map(self._own, self._behind(computation, instruction))
        reader = next(filter(None, readers), None)
        if reader is not None:
            return reader
        if id(computation) in self._callers:
            return self.of(*self._callers[id(computation)])
        return Source(f"{instruction.opcode}, {UNNAMED}")

    def _own(self, instruction: Instruction) -> Source | None:
        found = self._named(instruction)
        if found is None and instruction.opcode == "fusion":
            return self._inside(instruction)
        return found

    def _behind(
        self, computation: Computation, instruction: Instruction
    ) -> Iterator[Instruction]:
        """What reads an instruction, then what reads that, a few times."""
        readers = self._readers.get(id(computation))
        if readers is None:
            readers = self._readers[id(computation)] = collections.defaultdict(list)
            for reader in computation:
                for name in reader.operands:
                    readers[name].append(reader)
        front = [instruction]
        for _ in range(_FAR):
            front = [reader for one in front for reader in readers.get(one.name, ())]
            yield from front

    def _inside(self, fusion: Instruction) -> Source | None:
        inner = self._program.computations[fusion.called("calls")[0]]
        named = map(self._named, [inner[inner.root], *reversed(list(inner))])
        return next(filter(None, named), None)

    def _named(self, instruction: Instruction) -> Source | None:
        path = instruction.attribute(r'op_name="((?:[^"\\]|\\.)*)"')
        if not path or "/" not in path:
            return None
        line = self._line(instruction)
        return Source(
            _layer(path) or line.partition(":")[0] or path.rpartition("/")[2],
            line,
            backward="transpose(" in path,
            again=_AGAIN in path,
        )

    def _line(self, instruction: Instruction) -> str:
        frame = instruction.attribute(r"stack_frame_id=(\d+)")
        if frame is not None:
            return self._lines.get(frame, "")
        # As older versions of XLA print it.
        file = instruction.attribute(r'source_file="([^"]*)"')
        number = instruction.attribute(r"source_line=(\d+)")
        return f"{pathlib.PurePath(file).name}:{number}" if file and number else ""


def _lines(text: str) -> dict[str, str]:
    """`file:line` by the numbers of stack frames, from the tables before a program."""
    tables: dict[str, dict[str, re.Match]] = {}
    table: dict[str, re.Match] = {}
    for line in text.splitlines():
        if match := _FRAME.match(line):
            table[match["id"]] = match
        elif line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            table = tables.setdefault(line, {})
        elif line.endswith("{") and tables:
            break
    found = {}
    for number, frame in tables.get("StackFrames", {}).items():
        place = tables["FileLocations"][frame["place"]]
        path = tables["FileNames"][place["file"]]["path"].strip('"')
        found[number] = f"{pathlib.PurePath(path).name}:{place['line']}"
    return found


def _layer(path: str) -> str:
    """Of a name, without what transformations, methods and numbers of layers add."""
    parts: list[str] = []
    for part in path.split("/")[:-1]:  # the last is the operation
        if part.startswith("jit("):  # the step itself, or a function of JAX's
            continue
        while match := _WRAPPED.match(part):
            part = match[1]
        if "->" in part:  # an einsum's formula
            continue
        part = re.sub(r"^layers_\d+$", "layers_*", part.partition(".")[0])
        if part not in _CONTROL and part not in parts[-1:]:
            parts.append(part)
    return "/".join(parts)
