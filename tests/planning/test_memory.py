"""Memory: what compilers say when there is too little, and what there is."""

import types

import jax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dro_jax.planning.chips import CHIPS, chip_of
from dro_jax.planning.memory import (
    MemoryUse,
    available_bytes,
    bytes_on_a_device,
    exhausted,
    used,
)
from dro_jax.planning.topologies import Slice
from dro_jax.training.throughput import peak_flops

GIB = 2**30


# As libtpu 0.0.42 says it, and as older ones, which count arguments too.
TEMPORARIES = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (17.69G) exceeds available HBM (15.75G)."
)
WHOLE = (
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
    "space hbm. Used 20.03G of 15.75G hbm. Exceeded hbm capacity by 4.28G.\n\nTotal hbm "
    "usage >= 20.53G:\n    reserved        512.00M\n"
)
ALLOCATOR = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 512M"


@pytest.mark.parametrize(
    ("text", "temporary", "available"),
    [
        (TEMPORARIES, 17.69 * GIB, 15.75 * GIB),
        (WHOLE, 20.53 * GIB - GIB, 15.75 * GIB),
        (ALLOCATOR, GIB / 2, 99),
    ],
)
def test_what_a_compiler_says_it_needs_is_a_plan_that_does_not_fit(
    text, temporary, available
):
    found = exhausted(RuntimeError(text), state=GIB, available=99)
    assert not found.fits
    assert found.temporary_bytes == int(temporary)
    assert found.available_bytes == int(available)


@pytest.mark.parametrize(
    "text",
    [
        "INTERNAL: a bug",
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem while allocating",
    ],
)
def test_another_failure_is_not_taken_for_it(text):
    assert exhausted(RuntimeError(text), state=1, available=None) is None


@pytest.mark.parametrize(("platform", "temporary"), [("tpu", 40), ("cpu", 70)])
def test_temporaries_of_a_tpu_are_those_that_are_there_at_once(platform, temporary):
    sizes = types.SimpleNamespace(
        argument_size_in_bytes=30,
        output_size_in_bytes=32,
        alias_size_in_bytes=29,
        temp_size_in_bytes=70,
        peak_memory_in_bytes=73,
        generated_code_size_in_bytes=5,
    )
    compiled = types.SimpleNamespace(memory_analysis=lambda: sizes)
    assert used(compiled, 99, platform) == MemoryUse(33, temporary, 5, 99)


def test_what_fits_and_what_is_spare():
    use = MemoryUse(
        state_bytes=30, temporary_bytes=50, code_bytes=10, available_bytes=100
    )
    assert use.fits
    assert use.spare == pytest.approx(0.1)
    assert not MemoryUse(60, 50, 0, 100).fits
    # Nobody knows how much there is: what compiles fits.
    assert MemoryUse(60, 50, 0, None).fits
    assert not MemoryUse(60, 50, 0, None, exhausted=True).fits


def test_bytes_on_a_device_are_those_of_its_shards():
    mesh = Mesh(jax.devices()[:4], ("x",))
    split = jax.ShapeDtypeStruct(
        (8, 6), jax.numpy.float32, sharding=NamedSharding(mesh, PartitionSpec("x"))
    )
    whole = jax.ShapeDtypeStruct(
        (5,), jax.numpy.bfloat16, sharding=NamedSharding(mesh, PartitionSpec())
    )
    assert bytes_on_a_device({"a": split, "b": whole}) == 2 * 6 * 4 + 5 * 2


def test_cpu_devices_share_the_machines_memory():
    devices = jax.devices()
    one, all_of_them = Slice(None, devices[:1]), Slice(None, devices)
    assert available_bytes(one) // len(devices) == available_bytes(all_of_them) > 0


class _Device:
    """As much of a device as its speed is looked up by."""

    def __init__(self, kind):
        self.device_kind = kind


@pytest.mark.parametrize("kind", CHIPS)
def test_the_peak_of_every_listed_chip_is_known(kind):
    assert peak_flops([_Device(kind)], "bfloat16") > 1e13


@pytest.mark.parametrize(
    ("kind", "bandwidth", "links"),
    [
        ("TPU v5e", 819e9, 200e9),
        ("TPU v5 lite", 819e9, 200e9),
        ("TPU v5p", 2765e9, 600e9),
        ("TPU v5", 2765e9, 600e9),
        ("TPU v6e", 1638e9, 400e9),
        ("NVIDIA A100-SXM4-40GB", 1555e9, 300e9),
        ("NVIDIA A100-SXM4-80GB", 2039e9, 300e9),
        ("NVIDIA A100 80GB PCIe", 1935e9, None),
        ("NVIDIA H100 80GB HBM3", 3350e9, 450e9),
        ("NVIDIA H100 NVL", 3938e9, None),
    ],
)
def test_bandwidths_are_those_of_the_very_chip(kind, bandwidth, links):
    """A memory slower than there is would make a roofline that steps are faster than."""
    chip = chip_of(kind)
    assert (chip.bandwidth, chip.interconnect) == (bandwidth, links)
