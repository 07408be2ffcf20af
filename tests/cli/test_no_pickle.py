"""No pickle is read: no code of ours names one, and one in place of a file does nothing."""

import ast
import json
import pathlib
import pickle

import gin
import numpy as np
import pytest

import dro_jax
import dro_jax.tasks
from dro_jax.cli.main import main
from dro_jax.errors import UserError
from dro_jax.training import checkpoints

PICKLE_MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle",
    "marshal", "shelve",
}  # fmt: skip
# Functions of others that read pickles, by the name before and after the dot.
PICKLE_READERS = {("torch", "load"), ("np", "load"), ("pd", "read_pickle")}
FOLDERS = [pathlib.Path(path) for m in (dro_jax, dro_jax.tasks) for path in m.__path__]
SOURCES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


def pickle_uses(source: str) -> list[str]:
    """What in a module could read a pickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if _root(a.name) in PICKLE_MODULES]
        elif isinstance(node, ast.ImportFrom):
            if _root(node.module or "") in PICKLE_MODULES:
                found.append(node.module)
        elif isinstance(node, ast.Call):
            found += _pickle_call(node)
    return found


def _pickle_call(call: ast.Call) -> list[str]:
    allowed = [k.value for k in call.keywords if k.arg == "allow_pickle"]
    if allowed:
        off = isinstance(allowed[0], ast.Constant) and allowed[0].value is False
        return [] if off else ["allow_pickle"]
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        pair = (function.value.id, function.attr)
        if pair in PICKLE_READERS - {("np", "load")}:
            return [".".join(pair)]
    return []


def _root(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from joblib import load", ["joblib"]),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", ["allow_pickle"]),
        ("import numpy as np\nnp.load('x', allow_pickle=flag)", ["allow_pickle"]),
        ("import numpy as np\nnp.load('x', allow_pickle=False)", []),
        ("import torch\ntorch.load('x')", ["torch.load"]),
        ("import json\njson.load(file)", []),
    ],
)
def test_uses_of_pickle_are_found(source, found):
    assert pickle_uses(source) == found


def test_no_code_reads_pickles():
    assert len(SOURCES) > 50
    found = {str(path): pickle_uses(path.read_text("utf-8")) for path in SOURCES}
    assert not {path: uses for path, uses in found.items() if uses}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: pathlib.Path):
        self._path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self._path,))


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def pickled(tmp_path, marker):
    """A file that creates the marker when it is unpickled; proven to do so."""
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(Touch(marker)))
    pickle.loads(path.read_bytes())
    marker.unlink()
    yield path
    gin.clear_config()


@pytest.mark.parametrize(
    "role", ["TRAIN_PATH", "VOCABULARY", "INITIAL_CHECKPOINT_PATH"]
)
def test_a_pickle_in_place_of_a_file_does_nothing(
    role, pickled, marker, tmp_path, capsys
):
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"prompt": "p", "response": "r", "reward": 1}) + "\n")
    name = f"no_pickle_{role.lower()}"
    bindings = {
        "MODEL_DIR": f"'{tmp_path / 'model'}'",
        "TRAIN_STEPS": 1,
        "TRAIN_PATH": f"'{records}'",
        "REWARD_TRANSFORM": "'none'",
        "INITIAL_CHECKPOINT_PATH": f"'{tmp_path}'",
        "jsonl.jsonl_task.name": f"'{name}'",
    }
    objective = "dro_v"
    if role == "TRAIN_PATH":  # the checkpoint would be looked at first
        objective, bindings["INITIAL_CHECKPOINT_PATH"] = "nll", None
    bindings[role] = f"'{pickled}'"
    files = ("models/tiny", f"objectives/{objective}", "tasks/jsonl", "runs/train")
    flags = [f"--gin_file=gin_configs/{path}.gin" for path in files]
    flags += [f"--gin.{name}={value}" for name, value in bindings.items()]
    assert main(["train", *flags]) == 2
    assert str(pickled) in capsys.readouterr().err
    assert not marker.exists()


def test_a_pickle_as_a_configuration_does_nothing(pickled, marker, tmp_path, capsys):
    pickled.rename(tmp_path / "config.gin")
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "response": "y"}\n')
    files = [f"--input={tmp_path}/a.jsonl", f"--output={tmp_path}/b.jsonl"]
    assert main(["score", f"--model_dir={tmp_path}", *files]) == 2
    assert "config.gin" in capsys.readouterr().err
    assert not marker.exists()


def test_pickles_in_a_checkpoint_do_nothing(pickled, marker, tmp_path):
    state = tmp_path / "checkpoint_1" / "state"
    state.mkdir(parents=True)
    for name in ("_METADATA", "checkpoint", "manifest.ocdbt", "_sharding", "array.npy"):
        (state / name).write_bytes(pickled.read_bytes())
    with pytest.raises(UserError):
        checkpoints.load_params(tmp_path)
    assert not marker.exists()


def test_numpy_refuses_pickles_by_default(marker, tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.array([Touch(marker)], "O"), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(path)
    assert not marker.exists()
