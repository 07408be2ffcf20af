"""Costs of real programs: loops as often as they run, products as XLA counts them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dro_jax.planning.program_costs import program_costs
from dro_jax.planning.traffic import everywhere

A, B = jnp.ones((128, 64)), jnp.ones((64, 64))
PRODUCT = 2 * 128 * 64 * 64


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def totals(program):
    """XLA's own, which count a loop's body once."""
    found = program.cost_analysis()
    return found[0] if isinstance(found, list) else found


def nested(a, b):
    def outer(c, _):
        d, sums = jax.lax.scan(lambda d, _: (d @ b, d.sum()), c, None, length=3)
        return jnp.tanh(d), sums

    return jax.lax.scan(outer, a, None, length=5)


def test_loops_within_loops_count_as_often_as_they_run():
    program = compiled(nested, A, B)
    costs = program_costs(program.as_text(), 1)
    assert costs.flops == 15 * PRODUCT
    assert costs.unknown_loops == 0
    # Which is what the compiler leaves out.
    assert totals(program)["flops"] < 3 * PRODUCT


def test_bytes_of_a_loop_are_its_bodys_as_often_as_it_runs():
    def looped(length):
        def run(a, b):
            return jax.lax.scan(lambda c, _: (jnp.tanh(c @ b), None), a, None, length)[
                0
            ]

        return program_costs(compiled(run, A, B).as_text(), 1).bytes

    # Each turn reads and writes the same.
    assert looped(9) - looped(6) == looped(6) - looped(3) > 3 * A.nbytes


def test_bytes_without_loops_are_those_of_the_compiler():
    def straight(a, b):
        for _ in range(3):
            a = jnp.tanh(a @ b) * 2 + jnp.sum(a, axis=1, keepdims=True)
        return jnp.concatenate([a, a[::-1]])[5:100]

    program = compiled(straight, A, B)
    found = program_costs(program.as_text(), 1, everywhere)
    assert found.flops == 3 * PRODUCT
    np.testing.assert_allclose(found.bytes, totals(program)["bytes accessed"], rtol=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": "SAME"},
        {"window_strides": (2, 3), "padding": ((2, 1), (0, 4))},
        {"window_strides": (1, 2), "padding": ((2, 2), (1, 1)), "lhs_dilation": (1, 2)},
        {"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 1)},
        {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2},
    ],
)
def test_convolutions_as_the_compiler_counts_them(options):
    groups = options.get("feature_group_count", 1)
    x, kernel = jnp.ones((2, 6, 11, 13)), jnp.ones((4, 6 // groups, 3, 3))

    def convolved(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, **options)

    lowered = jax.jit(convolved).lower(x, kernel)
    # Before the CPU's compiler makes something else of it.
    text = lowered.compiler_ir("hlo").as_hlo_text()
    assert " convolution(" in text
    expected = lowered.cost_analysis()["flops"]
    assert program_costs(text, 1).flops == expected


def test_products_of_parts_are_counted_in_full():
    def product(a, b):
        return jnp.einsum("bqhd,bkhd->bhqk", a, b)

    a, b = jnp.ones((2, 5, 3, 8)), jnp.ones((2, 7, 3, 8))
    costs = program_costs(compiled(product, a, b).as_text(), 1)
    assert costs.flops == 2 * 2 * 3 * 5 * 7 * 8


def test_a_part_that_is_read_or_written_is_not_the_whole():
    big = jnp.zeros((1000, 1000))

    def part(big, i):
        row = jax.lax.dynamic_slice(big, (i, 0), (1, 1000)) * 2
        return jax.lax.dynamic_update_slice(big, row, (i, 0))

    program = jax.jit(part, donate_argnums=0).lower(big, jnp.int32(3)).compile()
    assert program_costs(program.as_text(), 1).bytes < big.nbytes / 10


def test_collectives_by_kind_with_what_each_device_sends():
    mesh = jax.make_mesh((4,), ("x",), devices=jax.devices()[:4])

    def exchange(x):
        def turn(c, _):
            return jax.lax.psum(c, "x") / 4, None

        summed = jax.lax.scan(turn, x, None, length=3)[0]
        return (
            summed,
            jax.lax.all_gather(x, "x"),
            jax.lax.ppermute(x, "x", [(i, (i + 1) % 4) for i in range(4)]),
        )

    spec = PartitionSpec("x")
    shared = jax.shard_map(
        exchange,
        mesh=mesh,
        in_specs=spec,
        out_specs=(spec, spec, spec),
        check_vma=False,
    )
    x = jax.ShapeDtypeStruct(
        (4 * 256,), jnp.float32, sharding=NamedSharding(mesh, spec)
    )
    found = program_costs(compiled(shared, x).as_text(), 4).collectives
    own = 256 * 4
    assert found["all-reduce"].count == 3
    assert found["all-reduce"].bytes == 3 * own
    assert found["all-reduce"].sent_bytes == 3 * 2 * 3 / 4 * own
    assert found["all-gather"].count == 1
    assert found["all-gather"].sent_bytes == 3 / 4 * 4 * own
    assert found["collective-permute"].bytes == own


ASYNC = """\
%carry (p.0: bf16[1,64], p.1: bf16[16,64]) -> (bf16[1,64], bf16[16,64]) {
  %p.0 = bf16[1,64]{1,0} parameter(0)
  %p.1 = bf16[16,64]{1,0} parameter(1)
  %gather = bf16[16,64]{1,0} all-gather(%p.0), channel_id=7, \
replica_groups=mesh['a'=16,'b'=1] {'a'}, dimensions={0}
  ROOT %both = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) tuple(%p.0, %p.1)
}

%halved (r: f32[2]) -> f32[2] {
  %r = f32[2]{0} parameter(0)
  %part = f32[1]{0} slice(%r), slice={[0:1]}
  ROOT %twice = f32[2]{0} concatenate(%part, %part), dimensions={0}
}

%wrapped (q: f32[8]) -> f32[4] {
  %q = f32[8]{0} parameter(0)
  ROOT %scattered = f32[4]{0} reduce-scatter(%q), replica_groups=[8,2]<=[16], \
dimensions={0}, to_apply=%add
}

ENTRY %main (a: bf16[1,64], b: bf16[16,64], c: f32[8], d: f32[32]) -> f32[4] {
  %a = bf16[1,64]{1,0} parameter(0)
  %b = bf16[16,64]{1,0} parameter(1)
  %c = f32[8]{0} parameter(2)
  %d = f32[32]{0} parameter(3)
  %first = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) fusion(%a, %b), kind=kCustom, calls=%carry
  %second = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) fusion(%a, %b), kind=kCustom, calls=%carry
  %moving = (f32[32]{0:S(1)}, f32[32]{0}, u32[]{:S(2)}) copy-start(%d)
  %moved = f32[32]{0:S(1)} copy-done(%moving)
  %taking = ((f32[32]{0}), f32[2]{0:S(1)}, s32[]{:S(2)}) slice-start(%d), slice={[0:2]}
  %taken = f32[2]{0:S(1)} slice-done(%taking)
  %near = f32[2]{0:S(1)} fusion(%taken), kind=kLoop, calls=%halved
  %started = ((f32[8]{0}), f32[4]{0}) async-start(%c), calls=%wrapped
  ROOT %done = f32[4]{0} async-done(%started), calls=%wrapped
}
"""


def test_what_goes_on_beside_others_counts_once():
    costs = program_costs(ASYNC, 16)
    assert costs.collectives["all-gather"].count == 1
    assert costs.collectives["all-gather"].bytes == 16 * 64 * 2
    assert costs.collectives["all-gather"].sent_bytes == 15 / 16 * 16 * 64 * 2
    assert costs.collectives["reduce-scatter"].count == 1
    assert costs.collectives["reduce-scatter"].sent_bytes == 1 / 2 * 8 * 4
    # The copy reads HBM and writes the chip's memory, as the slice does with 2 numbers,
    # of which a fusion takes one from there; the fusions before only hand on what the
    # collective fills; the scatter reads 8 numbers and writes 4.
    assert costs.bytes == 32 * 4 + 2 * 4 + (8 + 4) * 4


# As TPU's compiler carries a collective through the turns of a loop beside it.
CARRIED = """\
%begin (x: bf16[1,64]) -> (bf16[1,64], bf16[16,64]) {
  %x = bf16[1,64]{1,0} parameter(0)
  %begun = bf16[16,64]{1,0} all-gather(%x), channel_id=3, \
replica_groups=[1,16]<=[16], dimensions={0}
  ROOT %started = (bf16[1,64], bf16[16,64]) custom-call(%begun), \
custom_call_target="AsyncCollectiveStart"
}

%step (y: bf16[1,64], z: bf16[16,64]) -> (bf16[1,64], bf16[16,64]) {
  %y = bf16[1,64]{1,0} parameter(0)
  %z = bf16[16,64]{1,0} parameter(1)
  %on = bf16[16,64]{1,0} all-gather(%y), channel_id=3, \
replica_groups=[1,16]<=[16], dimensions={0}
  ROOT %both = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) tuple(%y, %z)
}

%turn (s: (bf16[1,64], bf16[16,64])) -> (bf16[1,64], bf16[16,64]) {
  %s = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) parameter(0)
  %s.0 = bf16[1,64]{1,0} get-tuple-element(%s), index=0
  %s.1 = bf16[16,64]{1,0} get-tuple-element(%s), index=1
  ROOT %next = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) fusion(%s.0, %s.1), kind=kCustom, calls=%step
}

%more (t: (bf16[1,64], bf16[16,64])) -> pred[] {
  %t = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (a: bf16[1,64]) -> (bf16[1,64], bf16[16,64]) {
  %a = bf16[1,64]{1,0} parameter(0)
  %first = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) fusion(%a), kind=kCustom, calls=%begin
  ROOT %loop = (bf16[1,64]{1,0}, bf16[16,64]{1,0}) while(%first), condition=%more, \
body=%turn, backend_config={"known_trip_count":{"n":"4"}}
}
"""


def test_a_collective_that_goes_on_through_a_loop_counts_once():
    costs = program_costs(CARRIED, 16)
    assert costs.unknown_loops == 0
    assert costs.collectives["all-gather"].count == 1
    assert costs.collectives["all-gather"].bytes == 16 * 64 * 2
    # It goes on in the loop's fusions.
    gather = costs.collectives["all-gather"]
    assert gather.beside_bytes == gather.sent_bytes


SCHEDULED = """\
ENTRY %main (a: f32[8,8], b: f32[8,8]) -> f32[8,8] {
  %a = f32[8,8]{1,0} parameter(0)
  %b = f32[8,8]{1,0} parameter(1)
  %first = (f32[8,8], f32[8,8], u32[], u32[]) collective-permute-start(%a), channel_id=1, \
source_target_pairs={{0,1},{1,0}}
  %product = f32[8,8]{1,0} dot(%b, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %got = f32[8,8]{1,0} collective-permute-done(%first)
  %second = (f32[8,8], f32[8,8], u32[], u32[]) collective-permute-start(%got), channel_id=2, \
source_target_pairs={{0,1},{1,0}}
  %sum = f32[8,8]{1,0} add(%b, %b)
  %had = f32[8,8]{1,0} collective-permute-done(%second)
  ROOT %last = f32[8,8]{1,0} all-reduce(%had), replica_groups={{0,1}}, to_apply=%add
}
"""


def test_what_is_exchanged_while_products_run():
    collectives = program_costs(SCHEDULED, 2).collectives
    assert collectives["collective-permute"].sent_bytes == 2 * 256
    assert collectives["collective-permute"].beside_bytes == 256
    assert collectives["all-reduce"].beside_bytes == 0


STACKED = """\
%layer (stack: f32[24,8], number: s32[]) -> f32[8] {
  %stack = f32[24,8]{1,0} parameter(0)
  %number = s32[] parameter(1)
  %zero = s32[] constant(0)
  %row = f32[1,8]{1,0} dynamic-slice(%stack, %number, %zero), dynamic_slice_sizes={1,8}
  ROOT %flat = f32[8]{0} reshape(%row)
}

%kept (into: f32[24,8], value: f32[8], at: s32[]) -> f32[24,8] {
  %into = f32[24,8]{1,0} parameter(0)
  %value = f32[8]{0} parameter(1)
  %at = s32[] parameter(2)
  %origin = s32[] constant(0)
  %line = f32[1,8]{1,0} reshape(%value)
  ROOT %new = f32[24,8]{1,0} dynamic-update-slice(%into, %line, %at, %origin)
}

%outer (all: f32[24,8], sums: f32[24,8], i: s32[]) -> f32[24,8] {
  %all = f32[24,8]{1,0} parameter(0)
  %sums = f32[24,8]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %one = f32[8]{0} fusion(%all, %i), kind=kLoop, calls=%layer
  %twice = f32[8]{0} add(%one, %one)
  ROOT %next = f32[24,8]{1,0} fusion(%sums, %twice, %i), kind=kLoop, calls=%kept
}

ENTRY %main (a: f32[24,8], b: f32[24,8], c: s32[]) -> f32[24,8] {
  %a = f32[24,8]{1,0} parameter(0)
  %b = f32[24,8]{1,0} parameter(1)
  %c = s32[] parameter(2)
  ROOT %done = f32[24,8]{1,0} fusion(%a, %b, %c), kind=kLoop, calls=%outer
}
"""


def test_parts_that_fusions_within_fusions_take_are_parts():
    # As TPU's compiler reads one layer of a stack: 8 numbers, and writes 8; and the
    # place, which both of them read.
    assert program_costs(STACKED, 1).bytes == 8 * 4 + 8 * 4 + 2 * 4
