"""Tasks that are registered before seqio is imported, and what seqio then knows."""

import gc
import os
import subprocess
import sys

from dro_jax.data import registry
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task

CODE = """
import json, sys
from dro_jax.data import registry
from dro_jax.data.inspection import list_tasks
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.tasks import dialogue

task = register_feedback_task("early", JsonlSource({"train": PATH}), vocabulary="byte")
listed = list_tasks()
early = {"seqio", "tensorflow"} & set(sys.modules)
FIRST
import seqio

same = seqio.TaskRegistry.get("early").feedback is task
known = {"wizard_of_wikipedia", "faithdial"} <= set(seqio.TaskRegistry.names())
mixed = [one.name for one in seqio.MixtureRegistry.get("faithdial_wow").tasks]
listed_alike = list_tasks() == listed
seqio.TaskRegistry.remove("early")
gone = "early" not in registry.task_names() and "early" not in list_tasks()
register_feedback_task("late", JsonlSource({"train": PATH}), vocabulary="byte")
late = "late" in seqio.TaskRegistry.names()
registry.remove("late")
removed = "late" not in seqio.TaskRegistry.names()
# Names that were given to others there.
seqio.TaskRegistry.remove("faithdial")
other = seqio.TaskRegistry.add("faithdial", seqio.FunctionDataSource(
    lambda split, shuffle_files, seed=None: None, splits=[]), preprocessors=[],
    output_features={})
mixture = mixed and "faithdial_wow"
seqio.MixtureRegistry.remove(mixture)
seqio.MixtureRegistry.add(mixture, ["wizard_of_wikipedia"], 2)
replaced = registry.task("faithdial") is other and [
    (one.name, rate()) for one, rate in registry.mixture(mixture)
] == [("wizard_of_wikipedia", 2.0)]
print(json.dumps([sorted(early), same, known, mixed, listed_alike, gone, late, removed,
    replaced]))
"""
EXPECTED = (
    '[[], true, true, ["faithdial", "wizard_of_wikipedia"], true, true, true, true, true]'
)


def test_seqio_knows_what_was_registered_before_it_was_imported(tmp_path):
    """Even where one of this package's own modules imports it first."""
    for first in ("", "import dro_jax.data.preprocessing"):
        code = CODE.replace("PATH", repr(str(tmp_path / "none.jsonl")))
        done = subprocess.run(
            [sys.executable, "-c", code.replace("FIRST", first)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == EXPECTED, done.stderr


def test_a_task_that_is_removed_closes_its_files(write_jsonl, trajectories):
    """Also where seqio had it: a program may register tasks for as long as it runs."""

    def opened():
        links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        found = [os.readlink(link) for link in links if os.path.lexists(link)]
        return [path for path in found if str(folder) in path]

    source = JsonlSource({"train": write_jsonl(trajectories(3))})
    task = register_feedback_task("left", source, vocabulary="byte")
    records = task.records()
    assert records.texts([0], "inputs") == ["p0"]
    assert len(records.tokens([0], "targets"))
    folder, same = records.folder, task.seqio_task
    assert len(opened()) == 3 and registry.task("left") is task
    assert task.seqio_task is same and same.feedback is task
    registry.remove("left")
    del task, records, same
    gc.collect()
    assert opened() == []
