"""Flags for XLA in tests, which compile far more than they compute."""

import importlib.metadata
import os

FLAGS = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
]
# XLA does not start with a flag that it does not know: these are of some releases.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # The older emitters compile a training step in half the time.
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    # A program is cut into 32 parts, compiled at once, which costs a fifth more processor
    # time; the other processors have tests of their own.
    FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")


def configure(devices: int) -> None:
    """Simulate devices on the CPU for this process and its children.

    JAX reads this when it starts; what the environment asks for beside it stays.
    """
    count = f"--xla_force_host_platform_device_count={devices}"
    given = os.environ.get("XLA_FLAGS", "").split()
    kept = [flag for flag in given if flag.split("=")[0] != count.split("=")[0]]
    added = [flag for flag in (count, *FLAGS) if flag not in kept]
    os.environ["XLA_FLAGS"] = " ".join(kept + added)
    os.environ["JAX_PLATFORMS"] = "cpu"
    # Where in Python an operation is from: a tenth of the time of a compilation.
    os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"
