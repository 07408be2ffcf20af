"""The GPUs of this machine, found without JAX, which would take them."""

import itertools
import os
import pkgutil
import subprocess


def jax_uses_gpus() -> bool:
    """Whether JAX is installed with its part for NVIDIA's GPUs; imports nothing."""
    return any(module.name.startswith("jax_cuda") for module in pkgutil.iter_modules())


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that a process started here would see, by number or name."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA takes those before the first that is none.
        return [*itertools.takewhile(lambda name: name not in ("", "-1"), names)]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]
