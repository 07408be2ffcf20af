"""What `--gin.NAME=VALUE` may be: text with and without quotes, and the right kind."""


import gin
import pytest

from dro_jax import shipped_names
from dro_jax.cli import gin_setup
from dro_jax.errors import ConfigError

FILES = [
    f"gin_configs/{path}.gin"
    for path in ("models/tiny", "objectives/dro_v", "tasks/jsonl", "runs/train")
]
NEEDED = ["TRAIN_PATH=logs.jsonl", "MODEL_DIR=run", "TRAIN_STEPS=2"]


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


def check(*bindings, files=FILES):
    """The values that are typed, by name."""
    _, typed = gin_setup.check(files, [*NEEDED, *bindings])
    return {f"{s.selector}.{s.arg_name}".strip("."): s.value for s in typed}


def refusal(*bindings, files=FILES):
    with pytest.raises(ConfigError) as caught:
        check(*bindings, files=files)
    message = str(caught.value)
    assert "object at 0x" not in message
    return message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MODEL_DIR", "/tmp/x"),
        ("MODEL_DIR", "~/runs/2024-01-01"),
        ("MODEL_DIR", "12abc"),
        ("MODEL_DIR", ".."),
        ("MODEL_DIR", "-"),
        ("MODEL_DIR", "/tmp/é/x+y=z#1 b"),
        ("MODEL_DIR", "a\\n"),
        ("TRAIN_PATH", "array1.json"),
        ("TRAIN_PATH", "*.jsonl"),
        ("TRAIN_PATH", "gs://bucket/x.jsonl"),
        ("INITIAL_CHECKPOINT_PATH", "/tmp/reference"),  # None in the files
        ("VALIDATION_PATH", "held_out.jsonl"),
        ("VOCABULARY", "byte"),
        ("REWARD_KIND", "thumbs"),
        ("REWARD_TRANSFORM", "none"),  # a word of ours, where the value is text
        ("DECAY", "linear"),
        ("REFERENCE", "frozen_copy"),
        ("DTYPE", "bfloat16"),
        ("MIXTURE_OR_TASK_MODULE", "dro_jax.tasks.hha,dro_jax.tasks.jsonl"),
        ("MIXTURE_OR_TASK_NAME", "hha"),  # a reference in the files, text by annotation
        ("dataset.DatasetConfig.split", "test"),
    ],
)
def test_text_needs_no_quotes_of_its_own_and_may_have_them(name, text):
    assert check(f"{name} = {text}")[name] == text
    assert check(f"{name} = {text!r}")[name] == text


@pytest.mark.parametrize(
    ("binding", "value"),
    [
        ("INITIAL_CHECKPOINT_PATH = None", None),
        ("PACK = True", True),
        ("BATCH_SIZE = 8", 8),
        ("LEARNING_RATE = 1", 1),  # a whole number is a number
        ("LEARNING_RATE = 1e-4", 1e-4),
        ("TASK_FEATURE_LENGTHS = {'inputs': 8, 'targets': 4}", {"inputs": 8, "targets": 4}),
        ("t5_config.T5Config.mlp_activations = ('relu',)", ("relu",)),
    ],
)  # fmt: skip
def test_what_is_gins_stays_gins(binding, value):
    assert check(binding)[binding.partition(" =")[0]] == value


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("BATCH_SIZE = 3O", ("BATCH_SIZE is a whole number. If text is meant, quote it: "
                            "--gin.BATCH_SIZE=\"'3O'\"")),
        ("TRAIN_STEPS = abc", "TRAIN_STEPS is a whole number."),
        ("OPTIMIZER = adamw", "OPTIMIZER is @dro_jax.training.optimizers.adafactor() in"),
        ("EVAL_DATASET = validation", "EVAL_DATASET is @train_eval/"),
        ("PACK = true", "gin writes True."),
        ("INITIAL_CHECKPOINT_PATH = none", "gin writes None. If text is meant, quote it"),
        ("MODEL_DIR =", "has no value. Empty text is --gin.MODEL_DIR=\"''\""),
        ("MODEL_DIR = /tmp/a (1)", "quote it: --gin.MODEL_DIR=\"'/tmp/a (1)'\""),
        ("MODEL_DIR = it's", "quote it: '--gin.MODEL_DIR="),
        ("MODEL_DIR = [1, 2", "a bracket or quote is not closed."),
        ("MODEL_DIR = @", "--gin.MODEL_DIR=@: "),
        ("MODEL_DIR = 1\nTAU = 3", "a flag sets one name"),
        ("1X = 3", "'1X' is no name of a setting"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_named_with_its_quoted_form(binding, message):
    assert message in refusal(binding)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("BATCH_SIZE = '32'", "BATCH_SIZE is a whole number, and this is text"),
        ("BATCH_SIZE = 1e3", "BATCH_SIZE is a whole number, and this is 1000.0"),
        ("PACK = 1", "PACK is True or False, and this is 1"),
        ("MODEL_DIR = 2026", ("and this is 2026. As text: "
                             "--gin.MODEL_DIR=\"'2026'\"")),
        ("TASK_FEATURE_LENGTHS = 512", "is a dictionary, {'name': value, …}, and this"),
        ("optimizers.adamw.b1 = 'x'", "optimizers.adamw.b1 is a number, and this is"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(binding, message):
    assert message in refusal(binding)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "BATCH_SIZE = 'x'\n",
            "line 1: BATCH_SIZE = 'x': BATCH_SIZE is a whole number",
        ),
        (
            "BATCH_SIZE = x\n",
            "line 1: x is no value of gin's; text is written in quotes",
        ),
        (
            "MODEL_DIR = /tmp/x\n",
            "line 1: this is no value of gin's; text is written in",
        ),
        ("X = (\n", "a bracket or quote is not closed."),
        ("include 3\n", "Expected file path as string."),
    ],
)
def test_files_keep_gins_syntax_and_errors_say_where(text, message, tmp_path):
    path = tmp_path / "own.gin"
    path.write_text(text)
    assert message in (shown := refusal(files=[*FILES, str(path)]))
    assert str(path) in shown


def test_every_file_that_ships_has_values_of_the_right_kind():
    # Each alone with what it includes; nothing is imported, so this costs little.
    folder = shipped_names.FOLDER / "gin_configs"
    for path in folder.rglob("*.gin"):
        try:
            gin_setup.check([str(path)], [])
        except ConfigError as error:
            assert "required settings are missing" in str(error) or "__main__" in str(
                error
            )
