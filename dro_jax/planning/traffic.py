"""Bytes that a compiled program's instructions move to and from a device's memory."""

from collections.abc import Callable, Iterator

from dro_jax.planning.hlo_text import (
    Array,
    Computation,
    Instruction,
    Program,
    Type,
    arrays,
)

# Names for what is there, and what only waits.
_FREE = frozenset(
    (
        "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all",
        "partition-id", "replica-id", "optimization-barrier", "add-dependency", "domain",
        "while", "conditional", "call",
    )
)  # fmt: skip
_FREE_CALLS = (
    "AllocateBuffer",
    "ConcatBitcast",
    "Assume",
    "Sharding",
    "AsyncCollective",
)
# Of their first operand they read what they give, and no more.
_PARTS = ("dynamic-slice", "slice", "gather")
_SAME = ("bitcast", "reshape", "get-tuple-element")

Counts = Callable[[Array], bool]


def in_main_memory(array: Array) -> bool:
    """Whether an array lies in HBM: of others the traffic costs no bandwidth of it."""
    return array.in_main_memory


def everywhere(array: Array) -> bool:
    """Arrays on the chip too, as XLA's cost analysis counts."""
    del array
    return True


def moved_bytes(
    program: Program,
    computation: Computation,
    instruction: Instruction,
    counts: Counts = in_main_memory,
) -> int:
    """What an instruction reads and writes, a fusion's intermediate results left out.

    Args:
      program: the whole.
      computation: the instruction's own, which is not fused into another.
      instruction: one of its.
      counts: which arrays are counted.
    """
    opcode = instruction.opcode
    if opcode in _FREE or opcode.endswith(("-done", "-update")):
        return 0
    if opcode == "custom-call":
        target = instruction.attribute(r'custom_call_target="([^"]*)"') or ""
        if target.startswith(_FREE_CALLS):
            return 0

    def size(type: Type) -> int:
        return sum(array.bytes for array in arrays(type) if counts(array))

    if opcode == "fusion":
        return sum(map(size, _of_fusion(program, computation, instruction)))
    operands = [computation.get(name) for name in instruction.operands]
    types = [operand.type for operand in operands if operand is not None]
    if opcode in _PARTS:
        read = size(instruction.type) if size(types[0]) else 0
        return read + size(instruction.type)
    if opcode == "dynamic-update-slice":
        return 2 * size(types[1])
    if opcode == "scatter":
        return 2 * size(types[-1]) + size(types[1])
    return sum(map(size, types)) + size(result_of(instruction))


def result_of(instruction: Instruction) -> Type:
    """The type of what is made; of one that only starts, of what there will be."""
    made = instruction.type
    if not instruction.opcode.endswith("-start") or isinstance(made, Array):
        return made
    if instruction.opcode == "all-reduce-start":
        return made
    return made[0] if instruction.opcode == "copy-start" else made[1]


def _of_fusion(
    program: Program, computation: Computation, fusion: Instruction
) -> Iterator[Type]:
    """What a fusion reads of its operands, and what it writes."""
    inner = program.computations[fusion.called("calls")[0]]
    readers = _readers(inner)
    for number, name in enumerate(fusion.operands):
        operand, parameter = computation.get(name), inner.parameters.get(number)
        if operand is None or parameter is None:
            continue
        yield from _read(inner, readers, parameter, operand.type)
    root = inner[inner.root]
    outputs = [root]
    if root.opcode == "tuple":
        outputs = [inner[name] for name in root.operands]
    for output in outputs:
        yield from _written(inner, output)


def _readers(inner: Computation) -> dict[str, list[tuple[Instruction, int]]]:
    """Who reads each result, and as which operand."""
    readers: dict[str, list[tuple[Instruction, int]]] = {}
    for instruction in inner:
        for number, name in enumerate(instruction.operands):
            readers.setdefault(name, []).append((instruction, number))
    return readers


def _read(inner, readers, name: str, type: Type) -> Iterator[Type]:
    """What is read of a parameter: of one that only parts are taken of, these."""
    parts: list[Type] = []
    for reader, number in readers.get(name, []):
        if reader.opcode in _PARTS and number == 0:
            parts.append(reader.type)
        elif reader.opcode in _SAME and reader.name != inner.root:
            parts += _read(inner, readers, reader.name, type)
        elif reader.opcode == "dynamic-update-slice" and number == 0:
            continue  # it is updated in place
        elif reader.opcode == "tuple" or _is_handed_on(reader):
            continue
        else:
            yield type
            return
    yield from parts


def _written(inner: Computation, output: Instruction) -> Iterator[Type]:
    while output.opcode in _SAME and inner.operand(output, 0) is not None:
        output = inner.operand(output, 0)
    if output.opcode == "dynamic-update-slice":
        yield inner.operand(output, 1).type
    elif output.opcode != "parameter" and not _is_handed_on(output):
        yield output.type


def _is_handed_on(instruction: Instruction) -> bool:
    # A collective that goes on beside the fusions that it is written into.
    return "AsyncCollective" in instruction.attributes or (
        instruction.opcode
        in ("all-gather", "all-reduce", "reduce-scatter", "all-to-all")
    )
