"""Slices that are not there, by TPU's compiler; skipped where it is not installed."""

import importlib.util
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dro_jax.errors import ConfigError
from dro_jax.planning import slice_names, topologies
from dro_jax.planning.memory import available_bytes, exhausted, used
from dro_jax.planning.program_costs import program_costs
from dro_jax.planning.roofline import roofline
from dro_jax.planning.topologies import slice_of
from dro_jax.planning.traffic import everywhere

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu (libtpu)"
)
GIB = 2**30


def test_without_a_topology_the_machines_own_devices_are_planned_for():
    found = slice_of(None)
    assert list(found.devices) == jax.devices()
    assert found.devices_a_chip == 1
    assert found.kind == "cpu"


def test_without_the_compiler_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[tpu\]'"):
        slice_of("v5e:4x4")


@needs_libtpu
@pytest.mark.parametrize(
    ("name", "devices", "a_chip", "gib"),
    [
        ("v3:2x2", 8, 2, 15.48),
        ("v4:2x2x1", 8, 2, 15.25),
        ("v5e:4x4", 16, 1, 15.75),
        ("v5e:1x1", 1, 1, 15.75),
        ("v5p:2x2x2", 8, 1, 95.74),
        ("v6e:2x4", 8, 1, 31.25),
        ("tpu7x:2x2x1", 8, 2, 94.75),
    ],
)
def test_devices_and_memory_of_slices(name, devices, a_chip, gib):
    before = dict(os.environ)
    found = slice_of(name)
    assert len(found.devices) == devices
    assert found.devices_a_chip == a_chip
    assert available_bytes(found) == int(gib * GIB)
    # Processes that are started later find nothing of the compiler's settings.
    assert dict(os.environ) == before


@needs_libtpu
def test_a_version_that_libtpu_does_not_know_is_a_message(monkeypatch):
    monkeypatch.setitem(slice_names.FORMS, "v9", "v9:2x2x1")
    monkeypatch.setitem(slice_names.ACCELERATORS, "v9", "v9-8")
    with pytest.raises(ConfigError, match="v9:2x2x1: INVALID_ARG.*Name the version"):
        slice_of("v9:2x2x1")


def _compiled(name, function, *shapes):
    found = slice_of(name)
    mesh = Mesh(np.array(found.devices), ("x",))
    by_row = NamedSharding(mesh, PartitionSpec("x"))
    whole = NamedSharding(mesh, PartitionSpec())
    first, *others = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes)
    placed = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
        for x, s in [(first, by_row), *((x, whole) for x in others)]
    ]
    return found, jax.jit(function).lower(*placed).compile()


@needs_libtpu
@pytest.mark.parametrize("scan", [False, True])
def test_costs_of_a_small_program_on_a_slice(scan):
    """Eight layers, each once in the text of the program or all in a loop."""
    width, rows, layers = 512, 4096, 8

    def loss(x, kernels):
        def layer(x, kernel):
            return jax.nn.gelu(x @ kernel), None

        if scan:
            return jax.lax.scan(layer, x, kernels)[0].sum()
        for kernel in kernels:
            x, _ = layer(x, kernel)
        return x.sum()

    found, program = _compiled(
        "v5e:2x2", jax.grad(loss, argnums=1), (rows, width), (layers, width, width)
    )
    costs = program_costs(program.as_text(), 4)
    # Forward, and twice that backward, but for the first layer's input.
    product = 2 * rows // 4 * width * width
    assert costs.flops == (3 * layers - 1 + scan) * product
    assert costs.unknown_loops == 0
    # The gradients of all kernels, summed over the devices.
    gradients = layers * width * width * 2
    assert costs.collectives["all-reduce"].bytes >= gradients
    least = roofline(costs, found, jnp.bfloat16)
    assert least.compute == pytest.approx(costs.flops / 197e12)
    assert least.seconds >= max(least.compute, least.memory)
    if not scan:
        totals = program.cost_analysis()
        counted = program_costs(program.as_text(), 4, everywhere).bytes
        # The compiler counts a copy twice, at its start and at its end: a tenth here.
        assert counted == pytest.approx(totals["bytes accessed"], rel=0.12)


@needs_libtpu
def test_temporaries_are_what_is_there_at_once():
    """Of a scan, whose stacks libtpu's own sum counts twice."""
    width, rows, layers = 4096, 16384, 12

    def loss(x, kernel):
        def layer(x, _):
            x = jnp.tanh(x @ kernel)
            return x, x

        kept = jax.lax.scan(layer, x, length=layers)[1]
        return (kept * kept[::-1]).sum()

    _, program = _compiled(
        "v5e:2x2", jax.grad(loss, argnums=(0, 1)), (rows, width), (width, width)
    )
    stack = 2 * layers * rows // 4 * width
    assert program.memory_analysis().temp_size_in_bytes > 4.9 * stack
    assert 3.9 * stack < used(program, None, "tpu").temporary_bytes < 4.1 * stack


@needs_libtpu
def test_what_does_not_fit_is_told_and_not_traced():
    def sorted_twice(x):
        return jnp.sort(jnp.sort(x, axis=0), axis=1)

    with pytest.raises(RuntimeError) as caught:
        _compiled("v5e:2x2", sorted_twice, (1 << 15, 1 << 20))
    memory = exhausted(caught.value, state=16 * GIB, available=None)
    assert not memory.fits
    assert memory.temporary_bytes > 16 * GIB
    assert memory.available_bytes == int(15.75 * GIB)
