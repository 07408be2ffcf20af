"""`dro-jax plan --each`: a folder of runs, each on the slice that it names."""

import importlib.util
import json
import os
import pathlib
import re
import types

import pytest

from dro_jax.cli import plan_each
from dro_jax.cli.main import main
from dro_jax.errors import ConfigError

PAPER = "gin_configs/runs/paper"
RUNS = plan_each.runs_in(PAPER)
PAGE = pathlib.Path("docs/performance.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (v.*) \|$", PAGE, re.MULTILINE))
BASE = """
include 'dro_jax/gin_configs/models/tiny.gin'
include 'dro_jax/gin_configs/tasks/jsonl.gin'
include 'dro_jax/gin_configs/runs/train.gin'
TASK_FEATURE_LENGTHS = {'inputs': 16, 'targets': 8}
BATCH_SIZE = 8
VOCAB_SIZE = 128
"""
NLL = "include 'dro_jax/gin_configs/objectives/nll.gin'\ninclude 'small_base.gin'\n"
GIVEN = types.SimpleNamespace(gin_bindings=[], gin_search_paths="", allow_import=[])
TOLD = {
    "fits": True,
    "spare": 0.5,
    "topology": "v5e:2x2",
    "memory": {
        "state_bytes": 2**30,
        "temporary_bytes": 2**31,
        "code_bytes": 0,
        "available_bytes": 2**33,
    },
    "flops": {"model": 2e12, "compiled": 3e12},
    "roofline": {"seconds": 0.5, "bound": "memory"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small_base.gin").write_text(BASE)
    (tmp_path / "one.gin").write_text(NLL + "SLICE = 'v5e:2x2'\n")
    return tmp_path


def test_every_paper_run_names_a_slice():
    assert {"dro_v", "a_lol", "dro_v_xl", "dro_v_xxl"} <= set(RUNS)
    assert "dro_base" not in RUNS
    for name, path in RUNS.items():
        assert plan_each.slice_named_by([str(path)]), name


def test_the_table_in_the_docs_is_of_these_files():
    assert list(ROWS) == list(RUNS)
    for name, row in ROWS.items():
        cells = row.split(" | ")
        assert cells[0] == plan_each.slice_named_by([str(RUNS[name])])
        assert int(cells[5].removesuffix("%")) >= 10, name


def test_plans_of_unchanged_files_are_not_made_again(folder, capsys):
    told = TOLD | {"settings_digest": plan_each.digest(folder / "one.gin", GIVEN)}
    (folder / "plans").mkdir()
    (folder / "plans/one.json").write_text(json.dumps(told))
    assert main(["plan", "--each=.", "--plans=plans"]) == 0
    row = "| `one` | v5e:2x2 | 2 | 3 | 1.0 + 2.0 + 0.0 | 8.00 | 50% | 0.50 s, memory |"
    assert row in capsys.readouterr().out


def test_any_setting_makes_another_plan(folder):
    path = folder / "one.gin"
    before = plan_each.digest(path, GIVEN)
    (folder / "small_base.gin").write_text(BASE + "FSDP = True\n")
    after = plan_each.digest(path, GIVEN)
    flags = types.SimpleNamespace(**vars(GIVEN) | {"gin_bindings": ["BATCH_SIZE = 4"]})
    assert len({before, after, plan_each.digest(path, flags)}) == 3


@pytest.mark.parametrize("short", [{"fits": False}, {"spare": 0.09}])
def test_what_has_too_little_to_spare_is_named(folder, capsys, short):
    told = TOLD | short
    told["settings_digest"] = plan_each.digest(folder / "one.gin", GIVEN)
    (folder / "plans").mkdir()
    (folder / "plans/one.json").write_text(json.dumps(told))
    assert main(["plan", "--each=.", "--plans=plans"]) == 2
    shown = capsys.readouterr()
    assert ("| 9% |" if told["fits"] else "| does not fit |") in shown.out
    assert "less than 10% to spare: one" in shown.err


def test_a_plan_of_another_slice_is_made_anew(folder, monkeypatch, capsys):
    told = TOLD | {"settings_digest": plan_each.digest(folder / "one.gin", GIVEN)}
    (folder / "plans").mkdir()
    (folder / "plans/one.json").write_text(json.dumps(told))
    planner = folder / "planner.sh"
    made = json.dumps(TOLD | {"topology": "v5p:2x2x1"})
    planner.write_text(f"#!/bin/sh\necho '{made}'\n")
    planner.chmod(0o755)
    monkeypatch.setattr(plan_each.sys, "executable", str(planner))
    flags = ["--each=.", "--plans=plans", "--topology=v5p:2x2x1"]
    assert main(["plan", *flags]) == 0
    assert "| `one` | v5p:2x2x1 |" in capsys.readouterr().out


def test_sigterm_ends_the_plan_under_way_too(folder, monkeypatch):
    planner = folder / "planner.sh"
    # Under way: while Popen has not returned yet, nobody has a process to end.
    planner.write_text(
        "#!/bin/sh\necho $$ > pid\nsleep 1\nkill -TERM $PPID\nexec sleep 60\n"
    )
    planner.chmod(0o755)
    monkeypatch.setattr(plan_each.sys, "executable", str(planner))
    assert main(["plan", "--each=."]) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_runs_include_files_of_search_paths(folder):
    (folder / "bases").mkdir()
    (folder / "small_base.gin").rename(folder / "bases/small_base.gin")
    assert list(plan_each.runs_in(".", "bases")) == ["one"]


def test_the_slice_is_a_setting(folder):
    path = [str(folder / "one.gin")]
    assert plan_each.slice_named_by(path) == "v5e:2x2"
    assert plan_each.slice_named_by(path, ["SLICE = v6e:4x4"]) == "v6e:4x4"
    assert plan_each.slice_named_by(path, ["SLICE = None"]) is None
    for wrong in ("'v5e'", "5"):
        with pytest.raises(ConfigError, match=f"SLICE = {wrong} is no TPU slice"):
            plan_each.slice_named_by(path, [f"SLICE = {wrong}"])


def test_refusals(folder, capsys):
    (folder / "one.gin").write_text(NLL)
    assert main(["plan", "--each=."]) == 2
    assert "one.gin names no SLICE" in capsys.readouterr().err
    assert main(["plan", "--each=nowhere"]) == 2
    assert "--each nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["plan", "--each=.", "--json=x.json"]) == 2
    assert "are of a single plan" in capsys.readouterr().err
    assert main(["plan", "--gin_file=one.gin", "--plans=plans"]) == 2
    assert "--plans keeps the plans of --each" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="needs TPU's compiler: pip install 'dro-jax[tpu]'",
)
def test_a_small_run_on_a_slice(folder, capsys):
    assert main(["plan", "--each=.", "--plans=plans"]) == 0
    assert "| `one` | v5e:2x2 |" in capsys.readouterr().out
    told = json.loads((folder / "plans/one.json").read_text())
    assert told["fits"] and told["topology"] == "v5e:2x2"
