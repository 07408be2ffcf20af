"""Rates of a run, with a clock of our own."""

import types

import pytest
from training_runs import run

from dro_jax.training import throughput as throughput_lib
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.throughput import Throughput, peak_flops


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(
        throughput_lib, "time", types.SimpleNamespace(monotonic=lambda: now.seconds)
    )
    return now


def test_rates_are_of_the_steps_alone(clock):
    throughput = Throughput(step_flops=6_000, peak_flops=1e5)
    clock.seconds += 50  # before the loop
    throughput.restart()
    with throughput.apart():
        clock.seconds += 30  # compilation
    clock.seconds += 2
    counts = {"num_tokens": 80.0, "num_trajectories": 8.0}
    assert throughput.measure(10, counts) == pytest.approx(
        {
            "steps_per_second": 5.0,
            "tokens_per_second": 40.0,
            "trajectories_per_second": 4.0,
            "mfu": 0.3,  # 10 · 6,000 of 2 s · 100,000
        }
    )
    clock.seconds += 1
    assert throughput.measure(10, counts)["mfu"] == pytest.approx(0.6)


def test_no_utilisation_of_an_unknown_device(clock):
    clock.seconds += 1
    assert "mfu" not in Throughput(1, None).measure(1, {})


@pytest.mark.parametrize(
    ("kind", "bfloat16", "float32"),
    [
        ("TPU v4", 275e12, 275e12),
        ("TPU v5", 459e12, 459e12),
        ("TPU v5p", 459e12, 459e12),
        ("TPU v5 lite", 197e12, 197e12),
        ("NVIDIA A100-SXM4-40GB", 312e12, 156e12),
        ("NVIDIA H100 80GB HBM3", 989e12, 494e12),
        ("NVIDIA H100 PCIe", 756e12, 378e12),
        ("NVIDIA H2000", None, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
        ("cpu", None, None),
    ],
)
def test_peaks_of_devices(kind, bfloat16, float32):
    devices = [types.SimpleNamespace(device_kind=kind)] * 4
    for dtype, peak in (("bfloat16", bfloat16), ("float32", float32)):
        assert peak_flops(devices, dtype) == (peak and 4 * peak)


def test_a_run_reports_the_step_s_own_arithmetic(tmp_path, monkeypatch):
    # A device that can do one FLOP a second, so that mfu is FLOPs a second.
    monkeypatch.setitem(throughput_lib._PEAK_FLOPS, "cpu", (1.0, 1.0))
    run(tmp_path, steps=10)
    for record in read_metrics(tmp_path):
        # Of small.NETWORK on 8 rows of 4 and 4 positions, by hand as for T5-L.
        layer = 3 * 16 * 24
        encoder = 2 * 4 * (4 * 16 * 16 + layer) + 4 * 4**2 * 16
        decoder = 2 * 4 * (6 * 16 * 16 + layer) + 2 * 4 * 2 * 16 * 16 + 4 * 4 * 8 * 16
        step = 8 * 3 * (encoder + decoder + 2 * 4 * 16 * 40)
        assert record["mfu"] / record["steps_per_second"] == pytest.approx(step)
