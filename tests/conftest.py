"""A strict environment for every test: eight simulated devices, no silent promotion."""

import atexit
import collections
import gc
import os
import pathlib
import shutil
import tempfile

import cheap_compilation

cheap_compilation.configure(devices=8)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# One folder of compiled programs for all workers of a run and all processes that its
# tests start. It is made anew, so that no run depends on an earlier one, unless somebody
# keeps one: in this variable, or by making the folder .cache/jax-tests.
_CACHE = "JAX_COMPILATION_CACHE_DIR"
_KEPT = pathlib.Path(__file__).parents[1] / ".cache" / "jax-tests"
if _CACHE not in os.environ:
    if _KEPT.is_dir():
        os.environ[_CACHE] = str(_KEPT)
    else:
        os.environ[_CACHE] = tempfile.mkdtemp(prefix="dro-jax-compiled-")
        atexit.register(shutil.rmtree, os.environ[_CACHE], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# Prepared splits likewise: workers share one folder, which is removed at the end.
_PREPARED = "DRO_JAX_PREPARED_DIR"
if _PREPARED not in os.environ or "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ[_PREPARED] = tempfile.mkdtemp(prefix="dro-jax-prepared-")
    atexit.register(shutil.rmtree, os.environ[_PREPARED], ignore_errors=True)

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(items):
    """Files of many slow tests come first, so that no worker ends with one alone."""
    slow = collections.Counter(
        item.path for item in items if item.get_closest_marker("slow")
    )
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish():
    """What is imported by now stays: the collector need not walk it in every test."""
    gc.collect()
    gc.freeze()
