"""Real T5X restores the checkpoints that dro_jax writes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import stored

from dro_jax.interop import formats

pytest.importorskip(
    "t5x",
    reason="needs t5x, airio and jestimator on PYTHONPATH, as docs/t5x.md describes",
)

SCRIPT = pathlib.Path(__file__).with_name("restore_with_t5x.py")
pytestmark = pytest.mark.slow


def restored(checkpoint, kind, use, scanned, gated, tmp_path):
    """The arrays that T5X restores, in a process of its own."""
    output = tmp_path / "restored.npz"
    arguments = [checkpoint, kind, use, scanned, gated, output]
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(output) as file:
        return dict(file.items())


def under(arrays, prefix):
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("version", "kind", "use", "scanned"),
    [
        ("t5_1_1", "orbax", "infer", False),
        ("t5_1_1", "orbax", "train", False),
        ("t5_1_1", "orbax", "infer", True),
        ("t5_1_0", "orbax", "infer", False),
        ("t5_1_1", "legacy", "infer", False),
        ("t5_1_1", "legacy", "train", False),
        ("t5_1_0", "legacy", "infer", False),
        ("t5_1_1", "legacy", "infer", True),
    ],
)
def test_t5x_restores_what_is_written(tmp_path, version, kind, use, scanned):
    policy = stored.arrays_of(f"{version}_params")
    if scanned:
        policy = stored.stacked(policy)
    format = "t5x" if kind == "orbax" else "t5x-legacy"
    formats.write_model(stored.stored_model(policy, step=9), tmp_path / "m", format)
    gated = version == "t5_1_1"
    found = restored(tmp_path / "m/checkpoint_9", kind, use, scanned, gated, tmp_path)
    assert found.pop("step") == 9
    stored.assert_same(found, under(policy, "params"))


@pytest.mark.parametrize("kind", ["orbax", "legacy"])
def test_t5x_restores_value_and_reference(tmp_path, kind):
    policy = stored.arrays_of("t5_1_1_params")
    reference = {name: array - 1 for name, array in policy.items()}
    value = stored.value_arrays(policy)
    model = stored.stored_model(policy, value, reference, step=9)
    format = "t5x" if kind == "orbax" else "t5x-legacy"
    formats.write_model(model, tmp_path / "m", format)
    checkpoint = tmp_path / "m" / "checkpoint_9"
    found = restored(checkpoint, kind, "feedback", False, True, tmp_path)
    assert found.pop("step") == 9
    expected = under(policy | under(value, "value"), "params")
    stored.assert_same(found, expected | under(reference, "reference"))
