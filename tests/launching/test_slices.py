"""Slices by name, against what xpk 1.16 makes of the same ones."""

import pytest

from dro_jax.errors import ConfigError
from dro_jax.launching.slices import TpuSlice

# xpk workload create --tpu-type=TYPE --dry-run --output-manifest-file=FILE: the labels
# of the nodes, parallelism and completions, google.com/tpu.
XPK = {
    "v4:2x2x1": ("tpu-v4-podslice", "2x2x1", 1, 4),
    "v4:2x2x4": ("tpu-v4-podslice", "2x2x4", 4, 4),
    "v5e:2x4": ("tpu-v5-lite-podslice", "2x4", 2, 4),
    "v5e:4x4": ("tpu-v5-lite-podslice", "4x4", 4, 4),
    "v5e:4x8": ("tpu-v5-lite-podslice", "4x8", 8, 4),
    "v5e:16x16": ("tpu-v5-lite-podslice", "16x16", 64, 4),
    "v5p:2x2x1": ("tpu-v5p-slice", "2x2x1", 1, 4),
    "v5p:2x2x2": ("tpu-v5p-slice", "2x2x2", 2, 4),
    "v5p:4x4x8": ("tpu-v5p-slice", "4x4x8", 32, 4),
    "v6e:1x1": ("tpu-v6e-slice", "1x1", 1, 1),
    "v6e:2x2": ("tpu-v6e-slice", "2x2", 1, 4),
    "v6e:4x4": ("tpu-v6e-slice", "4x4", 4, 4),
    "v6e:8x8": ("tpu-v6e-slice", "8x8", 16, 4),
    "tpu7x:2x2x2": ("tpu7x", "2x2x2", 2, 4),
}


@pytest.mark.parametrize("text", XPK)
def test_a_slice_is_what_xpk_takes_it_for(text):
    found = TpuSlice.of(text)
    hosts = found.hosts()
    assert XPK[text] == (
        found.generation.gke_accelerator,
        found.topology,
        hosts,
        found.chips // hosts,
    )


def test_eight_chips_may_be_one_host():
    assert TpuSlice.of("v5e:2x4").hosts(8) == 1
    for text, chips in (("v5e:4x4", 8), ("v5p:2x2x2", 8), ("v6e:2x2", 1)):
        with pytest.raises(ConfigError, match="CHIPS_PER_HOST"):
            TpuSlice.of(text).hosts(chips)


def test_machines_are_those_of_the_pool():
    found = TpuSlice.of("v5e:2x4")
    assert found.machine_type() == "ct5lp-hightpu-4t"
    assert found.machine_type(8) == "ct5lp-hightpu-8t"
    assert TpuSlice.of("v6e:1x1").machine_type() == "ct6e-standard-1t"


# From the tables of Google's documentation of each generation.
@pytest.mark.parametrize(
    ("text", "accelerator", "hosts"),
    [
        ("v4:2x2x2", "v4-16", 2),
        ("v5e:2x4", "v5litepod-8", 1),
        ("v5e:4x4", "v5litepod-16", 4),
        ("v5p:2x2x1", "v5p-8", 1),
        ("v5p:2x4x4", "v5p-64", 8),
        ("v6e:2x4", "v6e-8", 1),
        ("v6e:16x16", "v6e-256", 64),
    ],
)
def test_tpu_vms_are_asked_for_by_size(text, accelerator, hosts):
    found = TpuSlice.of(text)
    assert (found.accelerator_type, found.vm_hosts) == (accelerator, hosts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5e", "write a generation and a shape"),
        ("v5e-16", "write a generation and a shape"),
        ("v5e:4x0", "write a generation and a shape"),
        ("v9:4x4", "generations: v4, v5e"),
        ("v5e:4x4x4", "slices of v5e are v5e:1x1, v5e:2x2"),
        ("v5e:3x4", "slices of v5e"),
        ("v5p:4x4", "slices of v5p are v5p:2x2x1"),
        ("v5p:2x4x8", "slices of v5p"),
    ],
)
def test_what_is_no_slice_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        TpuSlice.of(text)


def test_the_newest_has_no_tpu_vms():
    assert TpuSlice.of("v7x:2x2x1").name == "tpu7x"
    with pytest.raises(ConfigError, match="tpu7x has no TPU VMs: use the target gke"):
        _ = TpuSlice.of("tpu7x:2x2x1").accelerator_type
