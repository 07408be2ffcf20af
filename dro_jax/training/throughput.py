"""Rates of a run: steps, tokens and trajectories a second, and FLOP utilisation."""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator

import jax
from jax.typing import DTypeLike

# Dense peak of one device, FLOP/s, for products of bfloat16 and for those of float32 at
# JAX's default precision: bfloat16 passes on TPU, TF32 on NVIDIA. From the makers' data
# sheets; a device of TPU v2, v3 and 7x is half a chip.
_PEAK_FLOPS = {
    "TPU v2": (22.5e12, 22.5e12),
    "TPU v3": (61.5e12, 61.5e12),
    "TPU v4": (275e12, 275e12),
    "TPU v5 lite": (197e12, 197e12),
    "TPU v5e": (197e12, 197e12),
    "TPU v5": (459e12, 459e12),
    "TPU v5p": (459e12, 459e12),
    "TPU v6 lite": (918e12, 918e12),
    "TPU v6e": (918e12, 918e12),
    "TPU7x": (1153.5e12, 1153.5e12),
    "NVIDIA A100": (312e12, 156e12),
    "NVIDIA H100": (989e12, 494e12),
    "NVIDIA H100 PCIe": (756e12, 378e12),
    "NVIDIA H100 NVL": (835e12, 417e12),
    "NVIDIA H200": (989e12, 494e12),
    "NVIDIA H200 NVL": (835e12, 417e12),
    "NVIDIA GH200": (989e12, 494e12),
}


class Throughput:
    """Measures the time between calls, waiting for evaluation and saves excluded.

    Args:
      step_flops: model FLOPs of a step (`dro_jax.models.flops`).
      peak_flops: what the devices can do a second; None where that is unknown.
    """

    def __init__(self, step_flops: int, peak_flops: float | None):
        self._step_flops, self._peak_flops = step_flops, peak_flops
        self._since = time.monotonic()

    def restart(self) -> None:
        """Start a new interval, for example after an evaluation."""
        self._since = time.monotonic()

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Leaves out what is done within, for example a compilation."""
        start = time.monotonic()
        yield
        self._since += time.monotonic() - start

    def measure(self, steps: int, metrics: dict[str, float]) -> dict[str, float]:
        """Rates of the interval that ends now, and start a new one.

        `mfu` is ``model FLOPs of the steps / (seconds · peak FLOP/s)``, given where the
        devices' peak is known.
        """
        seconds = max(time.monotonic() - self._since, 1e-9)
        self.restart()
        rates = {
            "steps_per_second": steps / seconds,
            "tokens_per_second": metrics.get("num_tokens", 0.0) / seconds,
            "trajectories_per_second": metrics.get("num_trajectories", 0.0) / seconds,
        }
        if self._peak_flops is not None:
            rates["mfu"] = self._step_flops * steps / (seconds * self._peak_flops)
        return rates


def peak_flops(devices: Iterable[jax.Device], dtype: DTypeLike) -> float | None:
    """FLOP/s that devices can do together; None where one of them is unknown.

    Args:
      devices: those of the run's mesh.
      dtype: of the network's activations, bfloat16 or float32.
    """
    peaks = [_peak_of(device.device_kind, dtype) for device in devices]
    return None if None in peaks else sum(peaks)


def _peak_of(kind: str, dtype: DTypeLike) -> float | None:
    # "TPU v5 lite" is no "TPU v5": the longest name that is whole words of it counts.
    # A slice of a GPU (MIG) has a share that its name does not tell as FLOP/s.
    names = [name for name in _PEAK_FLOPS if re.match(rf"{name}(?!\w)", kind)]
    if not names or "MIG" in kind:
        return None
    half, single = _PEAK_FLOPS[max(names, key=len)]
    return half if jax.numpy.dtype(dtype).itemsize == 2 else single
