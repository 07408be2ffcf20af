"""What each test costs: CPU seconds, and JAX's tracing and compilation.

    PYTHONPATH=tests/helpers python -m pytest -p cpu_profile --cpu-profile=FOLDER [...]
    python tests/helpers/cpu_profile.py FOLDER

Each process of the run writes FOLDER/<worker>.jsonl, a line a test and phase; the second
command sums them by test and file. A busy machine stretches wall time (so those of JAX's
stages), CPU seconds hardly. `children` are finished subprocesses.
"""

import collections
import json
import os
import pathlib
import sys
import time

import pytest

_STAGES = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
    "/jax/compilation_cache/cache_retrieval_time_sec": "retrieve",
}


def pytest_addoption(parser):
    parser.addoption(
        "--cpu-profile", metavar="FOLDER", help="where to write CPU seconds"
    )


def pytest_configure(config):
    folder = config.getoption("--cpu-profile")
    if folder:
        config.pluginmanager.register(_Profile(pathlib.Path(folder), config))


class _Profile:
    def __init__(self, folder, config):
        folder.mkdir(parents=True, exist_ok=True)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self._file = (folder / f"{worker}.jsonl").open("w")
        self._sums = collections.Counter()
        self._listening = False
        self._last = self._now()

    def _listen(self):
        if not self._listening and "jax" in sys.modules:
            from jax import monitoring

            monitoring.register_event_duration_secs_listener(self._heard)
            self._listening = True

    def _heard(self, event, seconds, **_):
        if event in _STAGES:
            self._sums[_STAGES[event]] += seconds
            self._sums["n_" + _STAGES[event]] += 1

    @staticmethod
    def _now():
        t = os.times()
        return {
            "cpu": t.user + t.system,
            "children": t.children_user + t.children_system,
            "wall": time.monotonic(),
        }

    def _write(self, name, phase):
        now = self._now()
        line = {key: round(now[key] - self._last[key], 3) for key in now}
        line |= {key: round(value, 3) for key, value in self._sums.items()}
        self._sums.clear()
        self._last = now
        self._file.write(json.dumps({"test": name, "phase": phase} | line) + "\n")
        self._file.flush()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        self._listen()
        result = yield
        self._listen()
        self._write("collection", "collection")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        self._listen()
        self._write("between", "between")
        try:
            return (yield)
        finally:
            self._write(item.nodeid, "setup")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        try:
            return (yield)
        finally:
            self._write(item.nodeid, "call")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item):
        try:
            return (yield)
        finally:
            self._write(item.nodeid, "teardown")

    def pytest_sessionfinish(self):
        self._write("between", "between")


_COLUMNS = (
    "cpu",
    "children",
    "wall",
    "trace",
    "lower",
    "compile",
    "n_compile",
    "retrieve",
    "n_retrieve",
)


def _report(folder, count=40):
    rows = [
        json.loads(line)
        for path in sorted(pathlib.Path(folder).glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    for title, key in (
        ("tests", lambda r: r["test"]),
        ("files", lambda r: r["test"].split("::")[0]),
        ("phases", lambda r: r["phase"]),
        ("all", lambda r: "all"),
    ):
        sums = collections.defaultdict(collections.Counter)
        for row in rows:
            sums[key(row)].update({c: row.get(c, 0) for c in _COLUMNS})
        order = sorted(sums, key=lambda k: -sums[k]["cpu"] - sums[k]["children"])
        print(f"\n{title}\n" + "".join(f"{c:>11}" for c in _COLUMNS))
        for name in order[:count]:
            print("".join(f"{sums[name][c]:11.1f}" for c in _COLUMNS), name)


if __name__ == "__main__":
    _report(*sys.argv[1:])
