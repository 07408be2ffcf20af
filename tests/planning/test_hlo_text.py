"""The text of compiled programs, as XLA's CPU and TPU compilers print it."""

import pytest

from dro_jax.planning.hlo_text import Array, Program, arrays

# Lines as libtpu 0.0.42 printed them for a step of T5 1.1 Large, shortened.
TPU = """\
HloModule jit_step, is_scheduled=true, num_partitions=16

%add.53 (x.1: f32[], y.1: f32[]) -> f32[] {
  %x.1 = f32[]{:T(128)} parameter(0)
  %y.1 = f32[]{:T(128)} parameter(1)
  ROOT %add.5 = f32[]{:T(128)} add(%x.1, %y.1)
}

ENTRY %main.9 (param.1: bf16[2048,64], param.2: (f32[8], u32[])) -> (f32[8], bf16[1,64]) {
  %param.1 = bf16[2048,64]{1,0:T(8,128)(2,1)} parameter(0), metadata={op_name="a (b) [c]"}
  %param.2 = (f32[8]{0:T(128)S(1)}, u32[]{:S(2)}, /*index=2*/token[]) parameter(1)
  %gte = f32[8]{0:T(128)S(1)} get-tuple-element(%param.2), index=0
  %all-reduce.1 = (f32[8]{0:T(128)S(1)}, f32[8]{0}) all-reduce(%gte, /*index=1*/%gte), \
channel_id=3, replica_groups=mesh['a'=4,'b'=4] {'a'}, to_apply=%add.53
  ROOT %tuple.1 = (f32[8]{0}, bf16[1,64]{1,0}) tuple(%gte, %param.1)
}
"""


def test_computations_instructions_and_their_operands_are_found():
    program = Program.parse(TPU)
    assert set(program.computations) == {"add.53", "main.9"}
    main = program.computations[program.entry]
    assert program.entry == "main.9"
    assert [instruction.opcode for instruction in main] == [
        "parameter", "parameter", "get-tuple-element", "all-reduce", "tuple"
    ]  # fmt: skip
    assert main.root == "tuple.1"
    assert main.parameters == {0: "param.1", 1: "param.2"}
    reduced = main["all-reduce.1"]
    assert reduced.operands == ("gte", "gte")
    assert reduced.called("to_apply") == ["add.53"]
    assert reduced.attribute(r"channel_id=(\d+)") == "3"


def test_types_have_sizes_and_the_memory_that_they_lie_in():
    main = Program.parse(TPU).computations["main.9"]
    assert main["param.1"].type == Array("bf16", (2048, 64), 0)
    assert main["param.1"].type.bytes == 2048 * 64 * 2
    on_chip, number, token = arrays(main["param.2"].type)
    assert (on_chip.bytes, on_chip.in_main_memory) == (32, False)
    assert (number.bytes, number.space) == (4, 2)
    assert token.bytes == 0


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("pred", 3), ("s4", 2), ("f8e4m3fn", 3), ("bf16", 6), ("c64", 24)],
)
def test_bytes_of_types(dtype, size):
    assert Array(dtype, (3,)).bytes == size


def test_names_without_percent_signs_and_operands_with_types_are_read():
    text = """\
ENTRY main (a: f32[2,3]) -> f32[2,3] {
  a = f32[2,3]{1,0} parameter(0)
  ROOT b = f32[2,3]{1,0} add(f32[2,3]{1,0} a, f32[2,3]{1,0} a)
}
"""
    program = Program.parse(text)
    assert program.computations["main"]["b"].operands == ("a", "a")


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        Program.parse("nothing")
