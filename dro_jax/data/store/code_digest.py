"""Digests of code that makes records, so that a store is not used after it changed.

A function of the user's own is known by the text of its module and of all modules of
the user's that it uses, by what it has closed over and by its defaults. What cannot be
known so, has no digest.
"""

import contextlib
import functools
import hashlib
import inspect
import os
import pathlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import dro_jax

_OWN = "dro_jax"
_PLAIN = (str, bytes, int, float, bool, type(None))


class Unknown(Exception):
    """It cannot be told what some code depends on."""


@functools.cache
def own_code() -> str:
    """A digest of this package's code that reads records and makes texts of them."""
    digest = hashlib.sha256(dro_jax.__version__.encode())
    folder = pathlib.Path(__file__).parents[1]
    for path in sorted([*folder.glob("*.py"), *folder.glob("layouts/*.py")]):
        if path.stem not in AFTER_RECORDS:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


# What works on prepared records; a change there leaves stores as they are.
AFTER_RECORDS = frozenset(
    (
        "batching", "converter", "cut_metric", "dataset", "different_prompts", "draws", "encoding",
        "feedback_source", "feedback_task", "grouping", "inputs", "inspection", "inspection_plot", "inspection_text",
        "inspection_tokens", "interface", "joined_records", "mixtures", "modules",
        "ordering", "packing", "permutation", "prefetching", "preprocessing",
        "prompt_batches", "prompt_records", "raw_records", "record_ids", "registry", "reward_statistics",
        "reward_transforms", "row_merging", "row_plans", "row_reading", "scratch", "seqio_tasks", "settings",
        "split_fingerprint", "split_tasks", "stream_packing", "task_metrics", "task_names",
        "task_report", "tasks", "truncation",
    )
)  # fmt: skip


def code_of(code: Callable[..., Any] | type) -> Any:
    """What tells a function or a class from another version of it, as JSON holds it.

    Raises:
      Unknown: that cannot be told.
    """
    if isinstance(code, functools.partial):
        values = [
            _value(value) for value in (*code.args, *sorted(code.keywords.items()))
        ]
        return ["partial", code_of(code.func), values]
    if isinstance(code, types.BuiltinFunctionType):
        return ["built in", code.__module__, code.__qualname__]
    if not isinstance(code, types.FunctionType | type):
        raise Unknown(f"{code!r} is neither a function nor a class")
    module = code.__module__
    if not isinstance(module, str):
        raise Unknown(f"{code!r} is of no module")
    found = [module, code.__qualname__, _sources(module)]
    if isinstance(code, types.FunctionType):
        _check_is_of_file(code)
        cells = [cell.cell_contents for cell in code.__closure__ or ()]
        defaults = [*(code.__defaults__ or ()), *(code.__kwdefaults__ or {}).items()]
        found += [_value(value) for value in (*cells, *defaults)]
        # Two lambdas of a module share a name, and of a line its number.
        places = repr(list(code.__code__.co_positions()))
        found.append(hashlib.sha256(places.encode()).hexdigest())
    return found


def _check_is_of_file(code: types.FunctionType) -> None:
    """Refuses functions that were not read with their modules, as of `exec`."""
    file = getattr(sys.modules.get(code.__module__), "__file__", None)
    if file is None or os.path.abspath(code.__code__.co_filename) != file:
        raise Unknown(f"the text of {code!r} is not found")


def _value(value: Any) -> Any:
    try:
        return _plain(value)
    except Unknown:
        return code_of(value)


def _sources(name: str) -> str:
    """A digest of a module and of all modules of the user's that it uses."""
    seen, waiting = {}, [name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        module = sys.modules.get(name)
        seen[name] = _text(name, module)
        if module is not None and _is_users(module):
            waiting += _used(module)
    return hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()


def _text(name: str, module: types.ModuleType | None) -> str:
    top = name.partition(".")[0]
    if top == _OWN:
        return own_code()
    if top in sys.stdlib_module_names:
        return sys.version
    if module is None:
        raise Unknown(f"module {name} is not imported")
    if not _is_users(module):
        return str(getattr(sys.modules.get(top), "__version__", ""))
    try:
        return inspect.getsource(module) + repr(_constants(module))
    except (OSError, TypeError) as error:
        if hasattr(module, "__path__"):
            return ""  # a package without a file
        raise Unknown(f"the source of {name} cannot be found") from error


def _constants(module: types.ModuleType) -> list[tuple[str, Any]]:
    """Plain values of a module, which may come from outside, as from a variable."""
    found = []
    for name, value in sorted(vars(module).items()):
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not name.startswith("__"):
            with contextlib.suppress(Unknown):
                found.append((name, _plain(value)))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_plain, value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(_plain, value))]
    if isinstance(value, dict):
        return [[_plain(key), _plain(item)] for key, item in value.items()]
    raise Unknown(f"{value!r} is no plain value")


def _used(module: types.ModuleType) -> Iterator[str]:
    for value in vars(module).values():
        if isinstance(value, types.ModuleType):
            yield value.__name__
            continue
        name = getattr(value, "__module__", None)
        if isinstance(name, str) and name in sys.modules:
            yield name


def _is_users(module: types.ModuleType) -> bool:
    """Whether it is neither Python's, nor ours, nor installed."""
    top = module.__name__.partition(".")[0]
    if top == _OWN or top in sys.stdlib_module_names:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return True
    paths = sysconfig.get_paths()
    return not any(file.startswith(paths[kind]) for kind in ("purelib", "platlib"))
