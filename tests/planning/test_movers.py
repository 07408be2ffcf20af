"""What moves the bytes of a compiled program, by the code that it comes from."""

import jax
import jax.numpy as jnp
import pytest

from dro_jax.planning.hlo_text import Computation, Instruction, Program
from dro_jax.planning.movers import Moved, Source, Sources, largest
from dro_jax.planning.program_costs import program_costs


def test_a_loops_lines_count_as_often_as_it_runs():
    a, b = jnp.ones((128, 64)), jnp.ones((64, 64))

    def loss(a, b):
        def turn(c, _):
            with jax.named_scope("layer"):
                return c @ b, None

        looped = jax.lax.scan(turn, a, None, length=7)[0]
        with jax.named_scope("head"):
            return jnp.sort(looped, axis=1)

    costs = program_costs(jax.jit(loss).lower(a, b).compile().as_text(), 1)
    assert sum(moved.bytes for moved in costs.movers.values()) == costs.bytes
    source, moved = largest(costs.movers, 1)[0]
    assert source.layer == "layer"
    # Reads both and writes one, in each turn.
    assert moved == Moved(7 * (2 * a.nbytes + b.nbytes), 7)
    assert any(source.layer == "head" for source in costs.movers)


def test_a_layers_lines_are_one_mover_with_the_name_of_the_largest():
    found = largest(
        {
            Source("mlp", "layers.py:7"): Moved(5, 1),
            Source("mlp", "layers.py:9"): Moved(8, 2),
            Source("mlp", "layers.py:9", backward=True): Moved(12, 1),
            Source("norm", "layers.py:3"): Moved(1, 1),
        },
        2,
    )
    assert found == [
        (Source("mlp", "layers.py:9"), Moved(13, 3)),
        (Source("mlp", "layers.py:9", backward=True), Moved(12, 1)),
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "jit(step)/transpose(jvp(T5.encode))/encoder._run/while/body/mlp/wo/dot_general",
            Source("T5/encoder/mlp/wo", "layers.py:70", backward=True),
        ),
        (
            "jit(step)/T5/encoder/layers_11/mlp/wi_0/nd,dv->nv/dot_general",
            Source("T5/encoder/layers_*/mlp/wi_0", "layers.py:70"),
        ),
        (
            "jit(step)/transpose(jvp(T5))/rematted_computation/norm/jit(_mean)/mul",
            Source("T5/norm", "layers.py:70", backward=True, again=True),
        ),
    ],
)
def test_names_are_those_of_layers(path, expected):
    metadata = (
        f', metadata={{op_name="{path}" source_file="/a/layers.py" source_line=70}}'
    )
    made = Instruction("dot.1", "dot", (), (), "", metadata)
    assert Sources("", Program({}, "")).of(Computation({}, "", {}), made) == expected


FRAMES = """\
HloModule jit_step, is_scheduled=true

FileNames
1 "/some/where/layers.py"
2 "/some/where/t5.py"

FunctionNames
1 "Dense.__call__"

FileLocations
1 {file_name_id=2 function_name_id=1 line=9 end_line=9 column=1 end_column=3}
2 {file_name_id=1 function_name_id=1 line=77 end_line=78 column=1 end_column=3}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}


ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  ROOT %b = f32[8]{0} add(%a, %a), metadata={op_name="jit(step)/add" stack_frame_id=2}
}
"""


def test_lines_are_those_of_the_innermost_frame():
    program = Program.parse(FRAMES)
    main = program.computations["main"]
    # What is in no layer is told by its file.
    expected = Source("layers.py", "layers.py:77")
    assert Sources(FRAMES, program).of(main, main["b"]) == expected


def test_what_has_no_name_has_that_of_what_is_inside_or_reads_it():
    text = """\
%inner (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %twice = f32[8]{0} add(%p, %p), metadata={op_name="jit(f)/net/add"}
  ROOT %copied = f32[8]{0} copy(%twice)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %fused = f32[8]{0} fusion(%a), kind=kLoop, calls=%inner
  %near = (f32[8]{0:S(1)}, f32[8]{0}, u32[]) copy-start(%fused)
  %there = f32[8]{0:S(1)} copy-done(%near)
  %read = f32[8]{0} negate(%there), metadata={op_name="jit(f)/head/neg"}
  ROOT %last = f32[8]{0} copy(%read)
}
"""
    program = Program.parse(text)
    sources, main = Sources(text, program), program.computations["main"]
    assert sources.of(main, main["fused"]) == Source("net")
    assert sources.of(main, main["near"]) == Source("head")
    assert sources.of(main, main["last"]) == Source("copy, of the compiler's own")
