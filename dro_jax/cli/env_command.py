"""`dro-jax env`: what a bug report should say of the machine; no paths, no names."""

import importlib.metadata
import os
import platform

import jax

import dro_jax

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
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    return [
        f"dro-jax {dro_jax.__version__}",
        (
            f"Python {platform.python_version()} on {platform.system()} "
            f"{platform.machine()}, {os.cpu_count()} CPUs"
        ),
        (
            f"devices: {len(devices)} × {', '.join(kinds)} ({jax.default_backend()}), "
            f"{jax.process_count()} processes"
        ),
        *(f"{name} {_version(name)}" for name in _PACKAGES),
        *(f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
