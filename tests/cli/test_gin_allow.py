"""Files that would run code of their own: refused by line, and nothing of it happens."""

import copy
import pathlib
import sys

import gin
import pytest

from dro_jax.cli import gin_setup
from dro_jax.cli.gin_allow import AllowList
from dro_jax.cli.main import main
from dro_jax.errors import ConfigError

HEAD = "from __gin__ import dynamic_registration\n"
DATASET = HEAD + "from dro_jax.data import dataset\n"
OS = HEAD + "from dro_jax.training import checkpoints\n"
# Each is a file that runs the module `evil`, or touches the marker, when gin parses it or
# when X is asked for; the number of the line to be named; and the flag that allows it.
ATTACKS = {
    "import": ("\nimport evil\n", 2, "evil"),
    "import under another name": ("import evil as dro_jax\n", 1, "evil"),
    "import from a package": (
        "from evil_package import part\n",
        1,
        "evil_package.part",
    ),
    "import after good ones": (DATASET + "import evil\n", 3, "evil"),
    "a name that only begins alike": ("import dro_jax_evil\n", 1, "dro_jax_evil"),
    "a function of a module's module": (
        OS + "checkpoints.dataclasses.inspect.importlib.import_module.name = 'evil'\n"
        "X = @checkpoints.dataclasses.inspect.importlib.import_module()\n",
        3,
        "importlib",
    ),
    "a reference that nothing is bound for": (
        OS + "X = @touch/checkpoints.pathlib.os.system()\n"
        "touch/checkpoints.pathlib.os.system.command = 'touch {marker}'\n",
        3,
        "posix",
    ),
    "a block": (
        OS + "checkpoints.pathlib.os.system:\n  command = 'touch {marker}'\n"
        "X = @checkpoints.pathlib.os.system()\n",
        3,
        "posix",
    ),
    "in a list": (
        OS + "s/checkpoints.pathlib.os.system.command = 'touch {marker}'\n"
        "X = [1, (2, {{'a': @s/checkpoints.pathlib.os.system()}})]\n",
        3,
        "posix",
    ),
    "as the key of a dictionary": (
        OS + "X = {{@s/checkpoints.pathlib.os.system(): 1}}\n"
        "s/checkpoints.pathlib.os.system.command = 'touch {marker}'\n",
        3,
        "posix",
    ),
    "behind a singleton": (
        OS + "checkpoints.pathlib.os.system.command = 'touch {marker}'\n"
        "one/gin.singleton.constructor = @checkpoints.pathlib.os.system\n"
        "X = @one/gin.singleton()\n",
        3,
        "posix",
    ),
    "dro_jax's own importer": (
        DATASET + "dataset.import_modules.modules = 'evil'\n"
        "X = @dataset.import_modules()\n",
        3,
        "dro_jax.data.modules",
    ),
    "dro_jax's own command line": (
        HEAD + "import dro_jax.cli.main\n"
        "dro_jax.cli.main.main.argv = ['tasks', 'list', '--module=evil']\n"
        "X = @dro_jax.cli.main.main()\n",
        2,
        "dro_jax.cli.main",
    ),
}
# Parsed without harm, refused all the same: reached through attributes of functions.
REACHES = {
    "builtins of a function": "X = @dataset.check_start.__builtins__.get\n",
    "a class of Python": "X = @dataset.DatasetConfig.__class__\n",
    "TensorFlow's file functions": "from dro_jax.data import seqio_vocabularies\n"
    "X = @seqio_vocabularies.tf.io.gfile.rmtree\n",
    "gin's own functions": "from gin import config\nX = @config.clear_config()\n",
}


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """What evil modules create when they are imported."""
    marker = tmp_path / "marker"
    code = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    modules = tmp_path / "modules"
    package = modules / "evil_package"
    package.mkdir(parents=True)
    for path in (modules / "evil.py", modules / "dro_jax_evil.py", package / "part.py"):
        path.write_text(code)
    (package / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(modules)
    yield marker
    for name in ("evil", "dro_jax_evil", "evil_package", "evil_package.part"):
        sys.modules.pop(name, None)


def write(folder, text, marker="", name="attack.gin"):
    path = folder / name
    path.write_text(text.format(marker=marker) if marker else text)
    return path


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_are_refused_by_line_and_do_nothing(kind, tmp_path, marker):
    text, line, name = ATTACKS[kind]
    path = write(tmp_path, text, marker)
    with pytest.raises(ConfigError) as caught:
        gin_setup.parse([str(path)], [])
    message = str(caught.value)
    assert f"{path} line {line}: {path.read_text().splitlines()[line - 1]}" in message
    assert message.endswith(f"add --allow_import={name}")
    assert not marker.exists()
    assert gin.config_str() == ""


@pytest.mark.parametrize("kind", ATTACKS)
def test_the_attacks_are_real(kind, tmp_path, marker, capsys):
    path = write(tmp_path, ATTACKS[kind][0], marker)
    gin.parse_config_file(str(path))
    if "X = " in path.read_text():
        copy.deepcopy(gin.query_parameter("X/gin.macro.value"))
    assert marker.exists()


@pytest.mark.parametrize("kind", REACHES)
def test_functions_reached_through_attributes_are_refused(kind, tmp_path):
    path = write(tmp_path, DATASET + REACHES[kind])
    with pytest.raises(ConfigError, match=f"{path} line .: X = .*files may use only"):
        gin_setup.parse([str(path)], [])


def test_an_included_file_is_checked_before_anything_is_imported(tmp_path, marker):
    write(tmp_path, "include 'deeper.gin'\n", name="deep.gin")
    deeper = write(tmp_path, "# nothing yet\nimport evil\n", name="deeper.gin")
    path = write(tmp_path, "import dro_jax.objectives\ninclude 'deep.gin'\n")
    with pytest.raises(ConfigError, match=f"{deeper} line 2: import evil: "):
        gin_setup.parse([str(path)], [], str(tmp_path))
    assert not marker.exists()


def test_looking_for_an_included_file_imports_no_package(tmp_path, marker):
    path = write(tmp_path, "include 'evil_package/part/none.gin'\n")
    with pytest.raises(
        ConfigError, match="cannot be found: evil_package/part/none.gin"
    ):
        gin_setup.parse([str(path)], [])
    assert not marker.exists()


def test_a_file_that_includes_itself_is_refused(tmp_path):
    write(tmp_path, "include 'b.gin'\n", name="a.gin")
    write(tmp_path, "include 'a.gin'\n", name="b.gin")
    with pytest.raises(ConfigError, match="includes itself: a.gin → b.gin → a.gin"):
        gin_setup.parse(["a.gin"], [], str(tmp_path))


def test_the_first_folder_that_has_a_file_wins_and_gin_reads_that_one(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"X = '{name}'\nY = %X\n", name="same.gin")
    gin_setup.parse(["same.gin"], [], f"{tmp_path / 'two'},{tmp_path / 'one'}")
    assert gin_setup.macro("X") == "two"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("MIXTURE_OR_TASK_MODULE = 'evil'\n", 1),
        ("MIXTURE_OR_TASK_MODULE = 'dro_jax.tasks.hha, evil'\n", 1),
        ("MIXTURE_OR_TASK_MODULE = ['dro_jax.tasks.hha', 'evil']\n", 1),
        ("NAMES = ('evil',)\nMIXTURE_OR_TASK_MODULE = %NAMES\n", 1),
        (DATASET + "dataset.DatasetConfig:\n  split = 'x'\n  module = 'evil'\n", 5),
        (DATASET + "EVIL = 'evil'\na/b/dataset.DatasetConfig.module = %EVIL\n", 3),
    ],
)
def test_modules_named_as_values_are_refused_by_line(text, line, tmp_path, marker):
    path = write(tmp_path, text)
    message = rf"{path} line {line}: .* names the module evil, .*--allow_import=evil"
    with pytest.raises(ConfigError, match=message):
        gin_setup.parse([str(path)], [])
    gin_setup.parse([str(path)], [], "", ["evil"])
    assert not marker.exists()


def test_a_module_may_not_be_named_by_a_function(tmp_path):
    text = HEAD + "from dro_jax.training import schedules\n"
    text += "MIXTURE_OR_TASK_MODULE = @schedules.learning_rate_schedule()\n"
    with pytest.raises(ConfigError, match="must name modules as text"):
        gin_setup.parse([str(write(tmp_path, text))], [])


@pytest.mark.parametrize("name", ["tasks./tmp/evil", "tasks..evil", "tasks.hha evil"])
def test_what_is_no_name_is_no_allowed_module(name, tmp_path):
    path = write(tmp_path, f"MIXTURE_OR_TASK_MODULE = '{name}'\n")
    with pytest.raises(ConfigError, match="names the module"):
        gin_setup.parse([str(path)], [])


def test_modules_named_on_the_command_line_are_the_persons_wish(tmp_path):
    path = write(
        tmp_path, "MIXTURE_OR_TASK_MODULE = 'evil'\nX = %MIXTURE_OR_TASK_MODULE"
    )
    gin_setup.parse([str(path)], ["MIXTURE_OR_TASK_MODULE = 'json,csv'"])
    assert gin_setup.macro("MIXTURE_OR_TASK_MODULE") == "json,csv"


def test_functions_named_on_the_command_line_are_checked_too(tmp_path):
    path = write(tmp_path, OS + "X = 1\nY = %X\n")
    with pytest.raises(ConfigError, match="--gin.X=@check.*=importlib"):
        gin_setup.parse(
            [str(path)],
            ["X = @checkpoints.dataclasses.inspect.importlib.import_module()"],
        )


def test_allow_import_allows_what_it_names(tmp_path, marker):
    path = write(tmp_path, "import evil\nimport evil_package.part\n")
    with pytest.raises(ConfigError, match="--allow_import=evil_package.part"):
        gin_setup.parse([str(path)], [], "", ["evil"])
    assert not marker.exists()
    gin_setup.parse([str(path)], [], "", ["evil", "evil_package"])
    assert marker.exists()


@pytest.mark.parametrize(
    ("extra", "name", "permitted"),
    [
        ((), "dro_jax", True),
        ((), "dro_jax.models.model", True),
        ((), "dro_jax_evil", False),
        ((), "dro_jax.cli", False),
        ((), "dro_jax.cli.main", False),
        ((), "dro_jax.clique", True),
        ((), "os", False),
        ((), "numpy", False),
        ((), "", False),
        (("numpy",), "numpy.testing", True),
        (("numpy.random",), "numpy.testing", False),
        (("dro_jax.cli",), "dro_jax.cli.main", True),
    ],
)
def test_names_match_by_their_dotted_parts(extra, name, permitted):
    assert AllowList(extra).permits(name) is permitted


@pytest.mark.parametrize("name", ["", "a b", "a.", "1a", "a/b", "*"])
def test_allow_import_must_name_a_module(name):
    with pytest.raises(ConfigError, match="is no module's name"):
        AllowList([name])


@pytest.mark.parametrize("command", ["generate", "score"])
def test_the_configuration_in_a_model_folder_is_checked(
    command, tmp_path, marker, capsys
):
    config = write(
        tmp_path, HEAD + "import evil\nMODEL = @evil.f()\n", name="config.gin"
    )
    given = write(tmp_path, '{"prompt": "a", "response": "b"}\n', name="in.jsonl")
    flags = [f"--model_dir={tmp_path}", f"--input={given}", f"--output={tmp_path}/out"]
    assert main([command, *flags]) == 2
    assert f"{config} line 2: import evil" in capsys.readouterr().err
    assert main([command, *flags, "--allow_import=evil_package"]) == 2
    assert not marker.exists()


def test_of_a_folders_file_only_what_is_asked_for_is_read(tmp_path, marker):
    text = HEAD + (
        "import evil\n"
        "from dro_jax.models import t5_config\n"
        "from dro_jax.training import train\n"
        "LENGTH = 8\n"
        "X = @evil.f()\n"
        "evil.g:\n"
        "  x = 1\n"
        "  y = 2\n"
        "TASK_FEATURE_LENGTHS = {'inputs': %LENGTH,\n  'targets': 4}\n"
        "train.train.model_dir = %X\n"
        "MODEL = @t5_config.T5Config()\n"
        "t5_config.T5Config:\n"
        "  vocab_size = %LENGTH\n"
    )
    path = write(tmp_path, text, name="config.gin")
    wanted = ("MODEL", "TASK_FEATURE_LENGTHS")
    gin_setup.parse([str(path)], [], only=wanted)
    assert gin_setup.macro("MODEL").vocab_size == 8
    assert gin_setup.macro("TASK_FEATURE_LENGTHS") == {"inputs": 8, "targets": 4}
    assert "evil" not in gin.config_str() and "train" not in gin.config_str()
    assert not marker.exists()
    path.write_text(text + "  emb_dims = 3\n")
    with pytest.raises(
        ConfigError, match="line 16: emb_dims = 3: t5_config.T5Config has"
    ):
        gin_setup.parse([str(path)], [], only=wanted)


@pytest.mark.parametrize("command", [["train"], ["tasks", "list"]])
def test_commands_take_the_flag(command, tmp_path, marker, capsys):
    path = write(tmp_path, "import evil\n")
    assert main([*command, f"--gin_file={path}"]) == 2
    assert "--allow_import=evil" in capsys.readouterr().err
    assert not marker.exists()
    main([*command, f"--gin_file={path}", "--allow_import=evil"])
    assert marker.exists()


def test_every_file_that_ships_is_allowed():
    files = sorted(pathlib.Path("gin_configs").rglob("*.gin"))
    # Those of t5x/ are read by T5X, and import its script.
    shipped = [str(path) for path in files if path.parent.name != "t5x"]
    with pytest.raises(ConfigError, match="required settings are missing"):
        gin_setup.parse(shipped, [])


def test_text_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "bytes.gin"
    path.write_bytes(b"X = '\xff'\n")
    with pytest.raises(ConfigError, match="bytes.gin cannot be read"):
        gin_setup.parse([str(path)], [])


def test_a_saved_configuration_with_constants_can_be_parsed_again(tmp_path):
    text = HEAD + "from gin import config\nX = %gin.REQUIRED\nY = %X\n"
    path = write(tmp_path, text)
    gin_setup.parse([str(path)], ["X = 1"])
    saved = write(tmp_path, gin.config_str(), name="config.gin")
    gin_setup.parse([str(saved)], [])
    assert gin_setup.macro("X") == 1


def test_constants_leave_no_import_behind(tmp_path):
    path = write(tmp_path, HEAD + "X = %gin.REQUIRED\nY = %X\n")
    gin_setup.parse([str(path)], ["X = 1"])
    assert "from gin" not in gin.config_str()
