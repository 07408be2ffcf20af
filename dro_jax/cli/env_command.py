"""`dro-jax env`: what a bug report should say of the machine; no paths, no names."""

import collections
import importlib.metadata
import os
import platform

import jax

import dro_jax
from dro_jax.plurals import counted

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "seqio",
    "tensorflow",
    "tensorflow-datasets",
    "gin-config",
    "numpy",
    "sentencepiece",
    "safetensors",
    "libtpu",
    "t5x",
    "transformers",
    "torch",
)
_VARIABLES = ("JAX_PLATFORMS", "XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_ENABLE_X64")


def run(arguments) -> None:
    """Print it."""
    del arguments
    print("\n".join(lines()))


def lines() -> list[str]:
    """A fact a line."""
    return [
        f"dro-jax {dro_jax.__version__}",
        (
            f"Python {platform.python_version()} on {platform.system()} "
            f"{platform.machine()}, {os.cpu_count()} CPUs"
        ),
        *_devices(),
        *(f"{name} {_version(name)}" for name in _PACKAGES),
        *(f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ),
    ]


def _devices() -> list[str]:
    devices, count = jax.devices(), jax.process_count()
    kinds = sorted({device.device_kind for device in devices})
    everywhere = (
        f"devices: {len(devices)} × {', '.join(kinds)} ({jax.default_backend()}), "
        f"{counted(count, 'process')}"
    )
    held = collections.Counter(device.process_index for device in devices)
    if count == 1:
        return [everywhere]
    # Of a slice of hundreds of hosts only what is not alike is worth a line each.
    if len({*held.values()}) == 1:
        return [everywhere, f"devices of each process: {len(devices) // count}"]
    return [everywhere, *(f"devices of process {p}: {held[p]}" for p in range(count))]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
