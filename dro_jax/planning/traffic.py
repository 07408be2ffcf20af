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

    if opcode == "fusion":
        return sum(_of_fusion(program, computation, instruction, counts))

    def size(type: Type) -> int:
        return sum(array.bytes for array in arrays(type) if counts(array))

    operands = [computation.get(name) for name in instruction.operands]
    types = [operand.type for operand in operands if operand is not None]
    result = result_of(instruction)
    if opcode.removesuffix("-start") in _PARTS:
        # Of its operand, wherever the part goes.
        return _all(result) * bool(size(types[0])) + size(result)
    if opcode == "dynamic-update-slice":
        return 2 * _all(types[1]) * bool(size(types[0]))
    if opcode == "scatter":
        return 2 * _all(types[-1]) * bool(size(types[0])) + size(types[1])
    return sum(map(size, types)) + size(result)


def _all(type: Type) -> int:
    return sum(array.bytes for array in arrays(type))


def result_of(instruction: Instruction) -> Type:
    """The type of what is made; of one that only starts, of what there will be."""
    made = instruction.type
    if not instruction.opcode.endswith("-start") or isinstance(made, Array):
        return made
    if instruction.opcode == "all-reduce-start":
        return made
    return made[0] if instruction.opcode == "copy-start" else made[1]


def _of_fusion(
    program: Program, computation: Computation, fusion: Instruction, counts: Counts
) -> Iterator[int]:
    """Bytes that a fusion reads of its operands, and those that it writes.

    Where an array lies is what its type says outside of the fusion.
    """
    inner = program.computations[fusion.called("calls")[0]]
    for number, name in enumerate(fusion.operands):
        operand, parameter = computation.get(name), inner.parameters.get(number)
        if operand is None or parameter is None:
            continue
        if any(map(counts, arrays(operand.type))):
            yield sum(map(_all, _read(program, inner, parameter)))
    root = inner[inner.root]
    outputs, types = [root], [fusion.type]
    if root.opcode == "tuple":
        outputs, types = [inner[name] for name in root.operands], fusion.type
    for output, type in zip(outputs, types, strict=True):
        if any(map(counts, arrays(type))):
            yield _all(_written(program, inner, output))


def _read(program: Program, inner: Computation, name: str) -> list[Type]:
    """What is read of a result in a fusion: of one of which parts are taken, these."""
    parts: list[Type] = []
    for reader in inner:
        if name not in reader.operands:
            continue
        first = reader.operands[0] == name
        if reader.opcode in _PARTS and first:
            parts.append(reader.type)
        elif reader.opcode in _SAME and reader.name != inner.root:
            parts += _read(program, inner, reader.name)
        elif reader.opcode == "fusion":
            within = program.computations[reader.called("calls")[0]]
            number = reader.operands.index(name)
            parts += _read(program, within, within.parameters[number])
        elif reader.opcode == "dynamic-update-slice" and first:
            continue  # it is updated in place
        elif reader.opcode == "tuple" or _is_handed_on(reader):
            continue
        else:
            return [inner[name].type]
    return parts


def _written(program: Program, inner: Computation, output: Instruction) -> Type:
    """What is written of a fusion's result: of one that is updated in place, a part."""
    while output.opcode in _SAME and inner.operand(output, 0) is not None:
        output = inner.operand(output, 0)
    if output.opcode == "dynamic-update-slice":
        return inner.operand(output, 1).type
    if output.opcode == "parameter" or _is_handed_on(output):
        return ()
    if output.opcode == "fusion":
        within = program.computations[output.called("calls")[0]]
        if within[within.root].opcode != "tuple":
            return _written(program, within, within[within.root])
    return output.type


def _is_handed_on(instruction: Instruction) -> bool:
    # A collective that goes on beside the fusions that it is written into.
    return "AsyncCollective" in instruction.attributes or (
        instruction.opcode
        in ("all-gather", "all-reduce", "reduce-scatter", "all-to-all")
    )
