"""A strict environment for every test: eight simulated devices, no silent promotion."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
# Eight devices to shard over; little optimisation, since tests compile more than they
# compute.
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    )
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Only repeated runs on one machine gain from this; a fresh machine compiles everything.
jax.config.update(
    "jax_compilation_cache_dir",
    str(pathlib.Path(__file__).parent.parent / ".cache" / "jax-tests"),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
