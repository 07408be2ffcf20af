"""Memory that a CPU's train steps use again, instead of asking the system each time.

XLA's CPU backend allocates a step's temporary memory anew in each step: hundreds of
megabytes. The C library gets a block of that size from the system and gives it back at
once, so that the system clears every page of it in every step, one page fault for each
4 KiB: a fifth of the step's processor time, and the cores wait for one another
meanwhile. Kept in the process, the same pages serve all steps.
"""

import ctypes
import importlib.util
import os
import platform

# mallopt's numbers in glibc's malloc.h, and what is set. Memory beyond 32 MiB comes from
# the system anew unless no memory may; and an arena of a thread's own holds no 64 MiB.
_OPTIONS = {
    -8: 1,  # M_ARENA_MAX: one arena for all threads
    -4: 0,  # M_MMAP_MAX: no block straight from the system
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD: bytes free at the end before any are given back
    -2: 64 << 20,  # M_TOP_PAD: bytes more than needed, each time that more are
}
_ACCELERATORS = ("libtpu", "jax_plugins")  # packages of JAX's other backends


def keep() -> bool:
    """Keeps freed memory for the next allocation, where JAX computes on the CPU.

    To be called before JAX starts its threads. Has no effect on numbers. The process's
    memory stays at its peak. Nothing is done where there is no glibc, nor where the
    user's `MALLOC_…` or `GLIBC_TUNABLES` say how memory is kept.

    Returns:
      Whether it was done.
    """
    if not _computes_on_cpu() or platform.libc_ver()[0] != "glibc" or _is_set():
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(name, value) for name, value in _OPTIONS.items())


def _computes_on_cpu() -> bool:
    named = os.environ.get("JAX_PLATFORMS")
    if named:
        return named == "cpu"
    return not any(map(importlib.util.find_spec, _ACCELERATORS))


def _is_set() -> bool:
    return "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") for name in os.environ
    )
