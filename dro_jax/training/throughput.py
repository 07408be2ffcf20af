"""Rates of a run: steps, tokens and trajectories a second, and FLOP utilisation."""

import time

import jax

# Dense bfloat16 peak of one device, FLOP/s, from the makers' data sheets.
_PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}


class Throughput:
    """Measures the time between calls, waiting for evaluation and saves excluded."""

    def __init__(self, num_params: int):
        self._num_params = num_params
        self._since = time.monotonic()

    def restart(self) -> None:
        """Start a new interval, for example after an evaluation."""
        self._since = time.monotonic()

    def measure(self, steps: int, metrics: dict[str, float]) -> dict[str, float]:
        """Rates of the interval that ends now, and start a new one.

        `mfu` is ``6 · parameters · tokens / (seconds · peak FLOP/s)`` (forward and
        backward, attention left out), given where the device's peak is known.
        """
        seconds = max(time.monotonic() - self._since, 1e-9)
        self.restart()
        tokens = metrics.get("num_tokens", 0.0) / seconds
        rates = {
            "steps_per_second": steps / seconds,
            "tokens_per_second": tokens,
            "trajectories_per_second": metrics.get("num_trajectories", 0.0) / seconds,
        }
        peak = _peak_flops()
        if peak is not None:
            rates["mfu"] = 6 * self._num_params * tokens / peak
        return rates


def _peak_flops() -> float | None:
    devices = jax.devices()
    kind = devices[0].device_kind
    for name, peak in _PEAK_FLOPS.items():
        if kind.startswith(name):
            return peak * len(devices)
    return None
