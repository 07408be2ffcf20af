"""Each name that gin files may use, called with a folder wherever it takes anything."""

import importlib
import inspect
import itertools
import pathlib
import sys

import gin
import pytest

from dro_jax.cli import gin_setup
from dro_jax.cli.gin_allowed_names import all_names
from dro_jax.errors import ConfigError

HEAD = "from __gin__ import dynamic_registration\n"
CALLED = sorted(all_names(called=True))


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


def module_and_name(full):
    module, _, name = full.rpartition(".")
    return module, name


def state(folder):
    return sorted(
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    )


@pytest.fixture
def sentinel(tmp_path):
    """A folder that looks like a run's, with what it would hurt to lose."""
    folder = tmp_path / "sentinel"
    for name in (
        "checkpoint_100/state/data",
        "metrics.jsonl",
        "tensorboard/x",
        "key.json",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


def parameters(thing):
    try:
        every = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in every if parameter.kind in named]


@pytest.mark.parametrize("module", sorted({module_and_name(n)[0] for n in CALLED}))
def test_no_listed_name_touches_a_folder_it_is_given(module, sentinel, monkeypatch):
    if not module.startswith("t5x"):
        importlib.import_module(module)
    else:
        pytest.importorskip(module)
    monkeypatch.chdir(sentinel)
    before, modules = state(sentinel), set(sys.modules)
    names = [name for name in CALLED if module_and_name(name)[0] == module]
    for full in names:
        thing = getattr(sys.modules[module], full.rpartition(".")[2])
        arguments = parameters(thing)
        if full == "dro_jax.tasks.jsonl.jsonl_task":  # it takes any
            arguments += ["train_path", "validation_path", "vocabulary", "prompt_field"]
        if full == "dro_jax.tasks.support_desk.logs.support_desk_log":
            arguments += ["num_records", "seed", "thumb_noise", "agents"]
        required = [n for n in arguments if n not in ("self",)]
        # Everywhere at once, and alone in each place; text, a list and a dictionary.
        for given in [required, *([name] for name in arguments)]:
            for value in (f"{str(sentinel)!r}", f"[{str(sentinel)!r}]"):
                call(module, full, given, value)
    assert state(sentinel) == before
    new = {name.partition(".")[0] for name in set(sys.modules) - modules}
    assert "checkpoint_100" not in new


def call(module, full, arguments, value):
    """Through gin, as a file would; that the values make no sense is no matter."""
    parent, _, last = module.rpartition(".")
    line = f"from {parent} import {last}\n" if parent else f"import {module}\n"
    selector = f"{last}.{full.rpartition('.')[2]}"
    text = HEAD + line + f"X = @{selector}()\n"
    text += "".join(f"{selector}.{name} = {value}\n" for name in arguments)
    gin.clear_config()
    gin.parse_config(text)
    try:
        gin_setup.macro("X")
    except ConfigError:
        pass
    except Exception as error:  # noqa: BLE001, of the library that was called
        assert not isinstance(error, SystemExit)


def test_every_listed_name_that_can_be_looked_up_is_there():
    for full in all_names():
        module, name = module_and_name(full)
        if not module.startswith("t5x"):
            assert callable(getattr(importlib.import_module(module), name)), full


def test_every_listed_name_is_let_through(tmp_path):
    names = [name for name in CALLED if not name.startswith("t5x")]
    modules = sorted({module_and_name(name)[0] for name in names})
    short = {module: module.rpartition(".")[2] for module in modules}
    assert len(set(short.values())) == len(modules)
    lines = [f"import {module} as {short[module]}" for module in modules]
    for number, (module, name) in enumerate(map(module_and_name, names)):
        lines.append(
            f"X{number} = [@{short[module]}.{name}, @a/{short[module]}.{name}()]"
        )
    path = tmp_path / "all.gin"
    path.write_text(HEAD + "\n".join(lines) + "\n")
    gin_setup.parse([str(path)], [])


@pytest.mark.parametrize(
    "text",
    [
        # Functions of good modules that act on paths, or start a run.
        "from dro_jax.training import train\nX = @train.train()\n",
        "from dro_jax.training import atomic_files\nX = @atomic_files.write_json()\n",
        "from dro_jax.training import checkpoints\nX = @checkpoints.Checkpointer()\n",
        "from dro_jax.interop import formats\nX = @formats.write_model()\n",
        "from dro_jax.t5x_runtime import start\nX = @start.initial_checkpoint()\n",
        "import seqio\nX = @seqio.FunctionDataSource()\n",
        "import seqio\nX = @seqio.TensorBoardLogger()\n",
        "import seqio\nX = @seqio.cache_tasks_main()\n",
        "import optax\nX = @optax.inject_hyperparams()\n",
        "from flax.training import checkpoints\nX = @checkpoints.save_checkpoint()\n",
        "from dro_jax.data import sources\nX = [@s/sources.JsonlSource]\n",
        # By a detour.
        "from dro_jax.training import train\nX = {'a': (@train.train,)}\n",
        (
            "from dro_jax.training import train\n"
            "X = @gin.singleton()\ngin.singleton.constructor = @train.train\n"
        ),
        "from dro_jax.training import train\nY = @train.train()\nX = %Y\n",
        "from dro_jax.models import model\nX = @model.FeedbackModel.score\n",
    ],
)
def test_names_that_are_not_listed_are_refused(text, tmp_path):
    path = tmp_path / "attack.gin"
    path.write_text(HEAD + text)
    with pytest.raises(ConfigError, match=r"attack.gin.* line|has no attribute"):
        gin_setup.parse([str(path)], [])


def test_every_name_that_the_shipped_files_use_is_listed():
    used = set()
    for path in pathlib.Path("gin_configs").rglob("*.gin"):
        if path.parent.name != "t5x":  # T5X reads those itself
            read = gin_setup.GinFiles([str(path)], ["."])
            configuration = gin_setup.Configuration.of(read.statements)
            values = [*configuration.bindings.values(), *configuration.macros.values()]
            parts = itertools.chain.from_iterable(
                gin_setup.gin_allow.contained(value) for value in values
            )
            used |= {
                part.selector.rpartition("/")[2]
                for part in parts
                if hasattr(part, "selector")
            }
            used |= {
                name.rpartition("/")[2].rpartition(".")[0]
                for name in configuration.bindings
            }
    assert len(used) > 25
    assert used <= set(all_names())
