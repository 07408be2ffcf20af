"""`dro-jax convert` among all formats, and what it says about it."""

import json
import pathlib
import shutil

import gin
import numpy as np
import pytest
import sentencepiece
from in_transformers import ask, needs
from safetensors.numpy import load_file, save_file
from small_gin import SIZES

from dro_jax.cli.main import main
from dro_jax.interop import formats

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf"
HF = GOLDEN / "t5_v1_1"
# As `dro-jax train` keeps it; the activation is not the one that shapes suggest.
CONFIG_GIN = """
from __gin__ import dynamic_registration
from dro_jax.models import t5_config
from dro_jax.models import value
from dro_jax.tasks import jsonl

VALUE = @value.ValueConfig()
ACTIVATIONS = ('silu', 'linear')
t5_config.T5Config.mlp_activations = %ACTIVATIONS
value.ValueConfig.network = 'shared_head'
value.ValueConfig.granularity = 'token'
jsonl.jsonl_task.name = 'convert_made'
jsonl.jsonl_task.train_path = 'none.jsonl'
jsonl.jsonl_task.vocabulary = 'byte'
MIXTURE_OR_TASK_MODULE = None
MIXTURE_OR_TASK_NAME = @jsonl.jsonl_task()
"""


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def convert(capsys):
    """Runs the command; gives its exit status and what it printed."""

    def run(source, destination, *flags):
        status = main(["convert", str(source), str(destination), *flags])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return run


def parameters(path):
    stored = formats.open_model(path, scan_layers=False)
    return {name: leaf.read() for name, leaf in stored.policy.items()}


def assert_same_parameters(path, other):
    found, expected = parameters(path), parameters(other)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("version", ["t5_v1_0", "t5_v1_1"])
def test_through_every_format_and_back(convert, tmp_path, version):
    source = GOLDEN / version
    for to in ("t5x-legacy", "dro-jax", "t5x", "hf"):
        status, shown = convert(source, tmp_path / to, "--to", to)
        assert status == 0, shown
        assert formats.recognise(tmp_path / to) == to
        assert_same_parameters(tmp_path / to, GOLDEN / version)
        source = tmp_path / to
    written = load_file(tmp_path / "hf" / "model.safetensors")
    for name, array in load_file(GOLDEN / version / "model.safetensors").items():
        np.testing.assert_array_equal(written[name], array, err_msg=name)


def test_summary(convert, tmp_path):
    state = load_file(HF / "model.safetensors")
    folder = tmp_path / "source"
    shutil.copytree(HF, folder)
    extra = {"encoder.embed_tokens.weight": state["shared.weight"].copy()}
    save_file(state | extra, folder / "model.safetensors")
    (folder / "spiece.model").write_bytes(b"")
    status, shown = convert(folder, tmp_path / "new", "--to", "t5x")
    assert status == 0
    lines = shown.splitlines()
    assert f"{folder} (hf, step 0) → {tmp_path / 'new'} (t5x)" in lines
    count = sum(array.size for array in state.values())
    (policy,) = [line for line in lines if line.split()[0] == "policy"]
    size = f"{4 * count / 1000:.1f}"
    assert policy.split() == ["policy", "52", f"{count:,}", size, "kB", "float32"]
    assert "renamed: 52 of 52" in shown
    assert (
        "  encoder.block.0.layer.0.SelfAttention.q.weight → "
        "encoder/layers_0/attention/query/kernel"
    ) in lines
    assert "  encoder.embed_tokens.weight: the same numbers as shared.weight" in lines
    assert "spiece.model: a task names its vocabulary" in shown


def test_layouts(convert, tmp_path):
    status, shown = convert(HF, tmp_path / "a", "--to", "t5x", "--scan_layers")
    assert status == 0
    assert formats.open_model(tmp_path / "a").config.scan_layers
    assert_same_parameters(tmp_path / "a", HF)
    status, shown = convert(
        tmp_path / "a", tmp_path / "b", "--to", "t5x-legacy", "--no-scan_layers"
    )
    assert status == 0
    assert "stacked layers taken apart" in shown
    assert "encoder/encoder/attention/query/kernel[:, 0] → " in shown
    assert not formats.open_model(tmp_path / "b").config.scan_layers
    assert "renamed: 0 of" in convert(tmp_path / "b", tmp_path / "c", "--to", "t5x")[1]
    # Stacked layers of one bias are an ordinary T5 again.
    assert convert(tmp_path / "a", tmp_path / "d", "--to", "hf")[0] == 0
    assert_same_parameters(tmp_path / "d", HF)


def test_what_a_run_s_configuration_tells(convert, tmp_path):
    run = tmp_path / "run"
    assert convert(HF, run, "--to", "dro-jax")[0] == 0
    status, shown = convert(run, tmp_path / "a", "--to", "hf")
    assert f"('gelu', 'linear'): from {run / 'model.gin'}" in shown
    assert "none is known" in shown
    assert f"--gin_file={run / 'model.gin'} " in (run / "model.gin").read_text()
    (run / "model.gin").unlink()
    status, shown = convert(run, tmp_path / "without", "--to", "hf")
    assert "('gelu', 'linear'): from the shapes" in shown
    (run / "config.gin").write_text(CONFIG_GIN)
    status, shown = convert(run, tmp_path / "b", "--to", "hf")
    assert status == 0
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["feed_forward_proj"] == "gated-silu"
    assert f"('silu', 'linear'): from {run / 'config.gin'}" in shown
    tokenizer = json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "ByT5Tokenizer"
    assert "tokenizer: byte" in shown
    (run / "config.gin").write_text(CONFIG_GIN.split("MIXTURE")[0])
    status, shown = convert(run, tmp_path / "no_task", "--to", "hf")
    assert status == 0 and "vocabulary is not known" in shown
    (run / "config.gin").write_text("no gin (")
    status, shown = convert(run, tmp_path / "c", "--to", "hf")
    assert status == 0 and "config.gin cannot be read" in shown


def test_a_tokenizer_that_is_given(convert, tmp_path):
    path = tmp_path / "spm.model"
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the cat sat on the mat"] * 20),
            model_writer=file,
            vocab_size=30,
            hard_vocab_limit=False,
            minloglevel=2,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
        )
    status, shown = convert(
        HF, tmp_path / "new", "--to", "hf", "--tokenizer", str(path)
    )
    assert status == 0 and f"tokenizer: {path}" in shown
    assert (tmp_path / "new" / "spiece.model").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--to", "hf", "--scan_layers"], "no effect with --to hf"),
        (["--to", "t5x", "--tokenizer", "byte"], "tokenizer"),
        (["--to", "t5x", "--gin.A=1"], "takes no --gin settings"),
        (["--to", "t5x", "--step", "7"], "checkpoint_7"),
    ],
)
def test_flags_without_effect_are_refused(convert, tmp_path, flags, message):
    status, shown = convert(HF, tmp_path / "new", *flags)
    assert status == 2 and message in shown
    assert not (tmp_path / "new").exists()


def test_one_checkpoint_of_a_folder(convert, tmp_path):
    for version, step in (("t5_v1_0", 0), ("t5_v1_1", 7)):
        convert(GOLDEN / version, tmp_path / version, "--to", "t5x")
        (tmp_path / version / "checkpoint_0").rename(tmp_path / f"checkpoint_{step}")
    assert convert(tmp_path, tmp_path / "new", "--to", "hf")[0] == 0
    assert_same_parameters(tmp_path / "new", GOLDEN / "t5_v1_1")
    assert convert(tmp_path, tmp_path / "old", "--to", "hf", "--step", "0")[0] == 0
    assert_same_parameters(tmp_path / "old", GOLDEN / "t5_v1_0")
    status, shown = convert(
        tmp_path / "checkpoint_7", tmp_path / "x", "--to", "hf", "--step", "0"
    )
    assert status == 2 and "--step 0 has no effect" in shown


def test_errors_are_one_paragraph(convert, tmp_path):
    destination = tmp_path / "full"
    destination.mkdir()
    (destination / "file").write_text("kept")
    for source, target in (
        (HF, destination),
        (tmp_path / "none", tmp_path / "new"),
        (destination, tmp_path / "new"),
    ):
        status, shown = convert(source, target, "--to", "t5x")
        assert status == 2 and "Traceback" not in shown
        assert len([x for x in shown.splitlines() if x.startswith("dro-jax")]) == 1
    assert [path.name for path in destination.iterdir()] == ["file"]
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@needs("transformers", "torch")
def test_transformers_generates_what_dro_jax_generates(convert, tmp_path):
    prompts = ["say yes", "say no", "say maybe", "say later, please"]
    records = [
        {"prompt": text, "response": text.split()[1], "reward": len(text)}
        for text in prompts
    ]
    data = tmp_path / "logs.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    names = ("models/tiny", "objectives/nll", "tasks/jsonl", "runs/train")
    settings = SIZES | {
        "MODEL_DIR": f"'{tmp_path / 'run'}'",
        "TRAIN_PATH": f"'{data}'",
        "jsonl.jsonl_task.name": "'convert_and_generate'",
        "TRAIN_STEPS": 60,
        "BATCH_SIZE": 8,
        "LEARNING_RATE": 0.02,
        "WARMUP_STEPS": 1,
        "EVAL_DATASET": None,
        "TASK_FEATURE_LENGTHS": "{'inputs': 24, 'targets': 12}",
    }
    flags = [f"--gin_file=gin_configs/{name}.gin" for name in names]
    flags += [f"--gin.{name}={value}" for name, value in settings.items()]
    assert main(["train", *flags]) == 0
    answers = tmp_path / "answers.jsonl"
    generate = ["generate", f"--model_dir={tmp_path / 'run'}", f"--input={data}"]
    assert main([*generate, f"--output={answers}", "--temperature=0"]) == 0
    ours = [
        json.loads(line)["responses"][0]["response"]
        for line in answers.read_text().splitlines()
    ]
    status, shown = convert(tmp_path / "run", tmp_path / "hf", "--to", "hf")
    assert status == 0 and "tokenizer: byte" in shown
    theirs = ask("answers", folder=tmp_path / "hf", prompts=prompts, steps=12)
    assert theirs == ours
    assert len(set(ours)) > 1 and all(ours)
