import seqio

from dro_jax.cli.task_modules import forgotten_tasks
from dro_jax.data.modules import import_modules
from dro_jax.tasks.jsonl import register_jsonl_task

_MODULE = """
from dro_jax.tasks.jsonl import register_jsonl_task
register_jsonl_task("of_a_module", train_path=__file__, vocabulary="byte")
"""


def test_tasks_of_settings_are_forgotten_and_those_of_modules_stay(
    tmp_path, monkeypatch
):
    # A module that is imported once more registers nothing.
    (tmp_path / "registers_a_task.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with forgotten_tasks():
        import_modules("registers_a_task")
        path = tmp_path / "registers_a_task.py"
        register_jsonl_task("of_settings", train_path=str(path), vocabulary="byte")
    names = seqio.TaskRegistry.names()
    assert "of_a_module" in names and "of_settings" not in names
    seqio.TaskRegistry.remove("of_a_module")
