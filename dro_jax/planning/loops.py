"""How often a compiled program's loops run."""

import re

from dro_jax.planning.hlo_text import Computation, Instruction, Program

_THROUGH = (
    "copy",
    "bitcast",
    "convert",
    "copy-done",
    "copy-start",
    "optimization-barrier",
)


def trip_count(
    program: Program, computation: Computation, loop: Instruction
) -> int | None:
    """How often the body of a `while` runs; None where that is not known.

    The compiler says it, or it is read from the counter: what it begins with, what is
    added in each turn, and what it is compared with.

    Args:
      program: the whole.
      computation: the loop's own.
      loop: its `while` instruction.
    """
    known = loop.attribute(r'"?known_trip_count"?:\s*\{"n":\s*"?(\d+)')
    if known is not None:
        return int(known)
    condition = program.computations[loop.called("condition")[0]]
    body = program.computations[loop.called("body")[0]]
    bound = _bound(program, condition)
    if bound is None:
        return None
    index, limit, direction = bound
    step = _step(program, body, index)
    begin = _begin(computation, loop, index)
    if begin is None or not step:
        return None
    inclusive = direction in ("LE", "GE")
    distance = (limit - begin) * (1 if step > 0 else -1) + inclusive
    if direction == "NE":
        distance = abs(limit - begin)
    return max(0, -(-distance // abs(step)))


def _bound(program: Program, condition: Computation) -> tuple[int, int, str] | None:
    """(which part of the loop's state counts, what it is compared with, how)."""
    sides, direction = _comparison(program, condition)
    if direction is None:
        return None
    counter, limit = sides
    flipped = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}
    if _constant(condition, counter) is not None:
        counter, limit, direction = limit, counter, flipped.get(direction, direction)
    index, value = _state_index(condition, counter), _constant(condition, limit)
    if index is None or value is None:
        return None
    return index, value, direction


def _comparison(program: Program, condition: Computation):
    """The operands of a condition's comparison, as instructions of the condition."""
    root = condition[condition.root]
    if root.opcode == "compare":
        sides = [condition.operand(root, number) for number in (0, 1)]
        return sides, root.attribute(r"direction=(\w+)")
    called = root.called("calls", "to_apply")
    if not called:
        return None, None
    inner = program.computations[called[0]]
    compare = inner[inner.root]
    if compare.opcode != "compare":
        return None, None
    numbers = {name: number for number, name in inner.parameters.items()}
    sides = []
    for name in compare.operands:
        if name in numbers:
            sides.append(condition.operand(root, numbers[name]))
        else:
            sides.append(inner[name])
    return sides, compare.attribute(r"direction=(\w+)")


def _step(program: Program, body: Computation, index: int) -> int | None:
    """What a turn adds to a part of the loop's state."""
    root = body[body.root]
    added = body.operand(root, index) if root.opcode == "tuple" else None
    added = _source(body, added)
    if added is None:
        return None
    if added.opcode in ("fusion", "call"):
        inner = program.computations[added.called("calls", "to_apply")[0]]
        sum_ = inner[inner.root]
        constants = [_constant(inner, inner.get(n)) for n in sum_.operands]
        numbers = {name: number for number, name in inner.parameters.items()}
        constants += [
            _constant(body, body.operand(added, numbers[n]))
            for n in sum_.operands
            if n in numbers
        ]
    else:
        sum_ = added
        constants = [_constant(body, body.get(n)) for n in sum_.operands]
    found = [value for value in constants if value is not None]
    if sum_.opcode not in ("add", "subtract") or len(found) != 1:
        return None
    return found[0] if sum_.opcode == "add" else -found[0]


def _begin(computation: Computation, loop: Instruction, index: int) -> int | None:
    state = computation.operand(loop, 0)
    if state is None or state.opcode != "tuple":
        return None
    return _constant(computation, computation.operand(state, index))


def _state_index(condition: Computation, counter: Instruction | None) -> int | None:
    counter = _source(condition, counter)
    if counter is None or counter.opcode != "get-tuple-element":
        return None
    return int(counter.attribute(r"index=(\d+)"))


def _constant(computation: Computation, instruction: Instruction | None) -> int | None:
    instruction = _source(computation, instruction)
    if instruction is None or instruction.opcode != "constant":
        return None
    number = re.fullmatch(r"\s*(-?\d+)\s*", instruction.arguments)
    return int(number[1]) if number else None


def _source(computation: Computation, instruction: Instruction | None):
    while instruction is not None and instruction.opcode in _THROUGH:
        instruction = computation.operand(instruction, 0)
    return instruction
