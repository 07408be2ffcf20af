"""A compiled program read from the text in which XLA prints it."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

_COMMENT = re.compile(r"/\*.*?\*/")
_HEAD = re.compile(r"(ENTRY )?%?(?P<name>[\w.\-]+)( \(.*\) -> .*)? \{$")
_ASSIGNED = re.compile(r"(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = ")
_OPCODE = re.compile(r"\s*(?P<opcode>[a-z][\w\-]*)\(")
_ARRAY = re.compile(
    r"(?P<type>[a-z]\w*)\[(?P<sizes>[\d,<=?]*)\](?P<layout>\{[^{}]*\})?"
)
_SPACE = re.compile(r"S\((\d+)\)")
_BITS = re.compile(r"\d+")
_HBM = 0


@dataclasses.dataclass(frozen=True)
class Array:
    """An array's type.

    Attributes:
      dtype: as XLA names it, `bf16`.
      sizes: of its axes.
      space: the memory that it lies in: 0 is a device's main memory (HBM), others are
        on the chip, or the host's.
    """

    dtype: str
    sizes: tuple[int, ...]
    space: int = _HBM

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        count = 1
        for size in self.sizes:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        """Its size, without what tiles pad."""
        return -(-self.elements * _bits(self.dtype) // 8)

    @property
    def in_main_memory(self) -> bool:
        """Whether it lies in HBM."""
        return self.space == _HBM


Type = Array | tuple["Type", ...]


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One operation.

    Attributes:
      name: within its computation.
      opcode: `fusion`, `dot`, ….
      type: of its result.
      operands: names of instructions of the same computation.
      arguments: what stands in the parentheses, as text.
      attributes: what follows them, as text.
    """

    name: str
    opcode: str
    type: Type
    operands: tuple[str, ...]
    arguments: str
    attributes: str

    def called(self, *names: str) -> list[str]:
        """The computations that attributes of these names refer to."""
        found = []
        for name in names:
            match = re.search(rf"\b{name}=(\{{[^{{}}]*\}}|%?[\w.\-]+)", self.attributes)
            if match:
                found += re.findall(r"%?([\w.\-]+)", match[1])
        return found

    def attribute(self, pattern: str) -> str | None:
        """The first group of a pattern in the attributes."""
        match = re.search(pattern, self.attributes)
        return match[1] if match else None


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions in their order.

    Attributes:
      instructions: by name.
      root: the name of the one whose result is the computation's.
      parameters: names of instructions, by number.
    """

    instructions: Mapping[str, Instruction]
    root: str
    parameters: Mapping[int, str]

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.instructions.values())

    def __getitem__(self, name: str) -> Instruction:
        return self.instructions[name]

    def get(self, name: str) -> Instruction | None:
        """The instruction of a name; None where there is none."""
        return self.instructions.get(name)

    def operand(self, instruction: Instruction, number: int) -> Instruction | None:
        """The instruction that an operand is; None where there is none."""
        if number >= len(instruction.operands):
            return None
        return self.instructions.get(instruction.operands[number])


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
      computations: by name.
      entry: the name of the one that runs.
    """

    computations: Mapping[str, Computation]
    entry: str

    @classmethod
    def parse(cls, text: str) -> "Program":
        """From `jax.stages.Compiled.as_text()`.

        Raises:
          ValueError: the text has no entry computation.
        """
        computations: dict[str, Computation] = {}
        entry, name, lines = None, None, []
        for line in text.splitlines():
            if name is None:
                if line.endswith("{") and (head := _HEAD.match(line)):
                    name, lines = head["name"], []
                    entry = name if head[1] else entry
            elif line.startswith("}"):
                computations[name] = _computation(lines)
                name = None
            else:
                lines.append(line)
        if entry is None:
            raise ValueError("the text of the compiled program has no ENTRY")
        return cls(computations, entry)


def arrays(type: Type) -> list[Array]:
    """The arrays of a type, tuples laid flat."""
    if isinstance(type, Array):
        return [type]
    return [array for part in type for array in arrays(part)]


def _computation(lines: list[str]) -> Computation:
    instructions, parameters, root = {}, {}, ""
    for line in lines:
        line = _COMMENT.sub("", line).strip()
        if not (assigned := _ASSIGNED.match(line)):
            continue
        made = _instruction(assigned["name"], line, assigned.end())
        instructions[made.name] = made
        if assigned["root"] or not root:
            root = made.name
        if made.opcode == "parameter":
            parameters[int(made.arguments)] = made.name
    return Computation(instructions, root, parameters)


def _instruction(name: str, line: str, start: int) -> Instruction:
    type, end = _type(line, start)
    opcode = _OPCODE.match(line, end)
    close = _closing(line, opcode.end() - 1)
    arguments = line[opcode.end() : close]
    operands = tuple(
        part.split()[-1].lstrip("%") for part in _split(arguments) if part.split()
    )
    return Instruction(
        name, opcode["opcode"], type, operands, arguments, line[close + 1 :]
    )


def _type(line: str, start: int) -> tuple[Type, int]:
    """A type that begins there, and where it ends."""
    if line[start] == "(":
        end = _closing(line, start)
        parts = _split(line[start + 1 : end])
        return tuple(
            _type(part.strip(), 0)[0] for part in parts if part.strip()
        ), end + 1
    match = _ARRAY.match(line, start)
    if match is None:  # token[] has no sizes, opaque no brackets
        end = line.find(" ", start)
        return Array("token", ()), len(line) if end < 0 else end
    sizes = tuple(int(x) for x in re.findall(r"\d+", match["sizes"]))
    space = _SPACE.search(match["layout"] or "")
    return Array(match["type"], sizes, int(space[1]) if space else _HBM), match.end()


def _closing(line: str, start: int) -> int:
    """Where the parenthesis that opens there is closed."""
    depth = 0
    for place in range(start, len(line)):
        if line[place] == "(":
            depth += 1
        elif line[place] == ")":
            depth -= 1
            if not depth:
                return place
    raise ValueError(f"no closing parenthesis: {line[:200]}")


def _split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth, begin = [], 0, 0
    for place, letter in enumerate(text):
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and not depth:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]


def _bits(dtype: str) -> int:
    if dtype == "pred":
        return 8
    if dtype in ("token", "opaque"):
        return 0
    return int(_BITS.search(dtype)[0])
