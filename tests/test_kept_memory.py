"""Blocks that are freed serve again without the system, in a process of their own."""

import os
import platform
import subprocess
import sys

import pytest

_CODE = """
import ctypes, resource, threading
from dro_jax import kept_memory
print(kept_memory.keep())
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
SIZE = 256 << 20
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(SIZE)))
    ctypes.memset(block, 1, SIZE)
    libc.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
for _ in range(2):  # threads allocate what a step needs
    thread = threading.Thread(target=faults)
    thread.start()
    thread.join()
"""


def _run(**environment: str) -> tuple[bool, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", _CODE],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, first, second = done.stdout.split()
    return kept == "True", int(first), int(second)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_the_second_block_comes_from_the_process():
    kept, first, second = _run(JAX_PLATFORMS="cpu")
    assert kept
    assert second < first / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_PLATFORMS": "tpu"},
        {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"},
    ],
)
def test_accelerators_and_users_settings_are_left_alone(environment):
    kept, first, second = _run(**environment)
    assert not kept
    assert second > first / 2
