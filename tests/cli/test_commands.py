"""The commands on a model that `dro-jax train` made: one small run serves all tests."""

import gzip
import json
import os

import gin
import numpy as np
import pytest
from small_gin import SIZES

from dro_jax.cli.kept_results import KeptResults
from dro_jax.cli.main import main

FILES = [
    f"--gin_file=gin_configs/{path}.gin"
    for path in ("models/tiny", "objectives/nll", "tasks/jsonl", "runs/train")
]
RECORDS = [
    {"prompt": f"say {word}", "response": word, "reward": float(len(word)), "n": n}
    for n, word in enumerate(("yes", "no", "maybe", "later", "now", "never"))
]


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def train_flags(model_dir, data, **settings):
    bindings = {
        "MODEL_DIR": f"'{model_dir}'",
        "TRAIN_PATH": f"'{data}'",
        "jsonl.jsonl_task.name": f"'task_{data.parent.name}_{data.stem}'",
        "TRAIN_STEPS": 4,
        "BATCH_SIZE": 8,
        "LOG_PERIOD": 2,
        "EVAL_DATASET": None,
        "TASK_FEATURE_LENGTHS": "{'inputs': 12, 'targets': 8}",
    }
    bindings |= SIZES | settings
    return [f"--gin.{name}={value}" for name, value in bindings.items()]


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("data") / "logs.jsonl", RECORDS)


@pytest.fixture(scope="module")
def nll_dir(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("nll") / "model"
    # Enough steps to answer in letters.
    learn = {
        "TRAIN_STEPS": 150,
        "LOG_PERIOD": 50,
        "OPTIMIZER": "@optimizers.adamw()",
        "LEARNING_RATE": 0.02,
        "WARMUP_STEPS": 10,
    }
    assert main(["train", *FILES, *train_flags(folder, data, **learn)]) == 0
    return folder


def test_train_writes_what_a_run_needs(nll_dir):
    names = {path.name for path in nll_dir.iterdir()}
    assert {"config.gin", "metrics.jsonl", "reward_statistics.json", "checkpoint_150",
            "tensorboard"} <= names  # fmt: skip
    facts = json.loads((nll_dir / "reward_statistics.json").read_text())
    (task,) = facts.values()
    assert task["records"]["num_kept"] == len(RECORDS)
    assert task["rewards"]["recorded"]["mean"] == pytest.approx(
        np.mean([r["reward"] for r in RECORDS])
    )


def command(name, model_dir, source, target, *flags):
    return main(
        [name, f"--model_dir={model_dir}", f"--input={source}", f"--output={target}",
         "--batch_size=4", *flags]
    )  # fmt: skip


@pytest.mark.slow
def test_what_generate_reports_is_what_score_computes(nll_dir, data, tmp_path):
    answers, pairs, scored = (tmp_path / n for n in ("a.jsonl", "p.jsonl", "s.jsonl"))
    flags = ("--num_samples=4", "--temperature=0.3", "--seed=3")
    assert command("generate", nll_dir, data, answers, *flags) == 0
    generated = read_lines(answers)
    assert [record["n"] for record in generated] == list(range(len(RECORDS)))
    assert all(len(record["responses"]) == 4 for record in generated)
    # A byte model may also write what is no text; that does not survive as text.
    samples = [
        {
            "prompt": record["prompt"],
            "sampled": item["logprob"],
            "response": item["response"],
        }
        for record in generated
        for item in record["responses"]
        if item["response"].isalpha() and item["response"].isascii()
    ]
    assert len(samples) >= 6
    assert command("score", nll_dir, write_lines(pairs, samples), scored) == 0
    for record in read_lines(scored):
        assert record["logprob"] == pytest.approx(record["sampled"], abs=1e-4)
        assert "value" not in record


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generate", "score"])
def test_a_command_goes_on_where_it_was_killed(
    nll_dir, data, tmp_path, monkeypatch, capsys, name
):
    """Its partial file is cut anywhere, as a kill does: the end is the same bytes."""
    flags = ["--batch_size=2", *["--num_samples=2"] * (name == "generate")]
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    with monkeypatch.context() as kept:
        kept.setattr(KeptResults, "delete", lambda self: None)
        assert command(name, nll_dir, data, out, *flags) == 0
    expected, content = out.read_bytes(), partial.read_bytes()
    assert [record["n"] for record in read_lines(out)] == list(range(len(RECORDS)))
    for share in (0.3, 0.7, 1.0):
        out.unlink()
        partial.write_bytes(content[: int(share * len(content))])
        assert command(name, nll_dir, data, out, *flags) == 0
        assert out.read_bytes() == expected and not partial.exists()
    capsys.readouterr()
    partial.write_bytes(content)
    others = write_lines(tmp_path / "others.jsonl", RECORDS[::-1])
    added = {"generate": "responses", "score": "logprob"}[name]
    for source, flag, named in [
        (data, "--batch_size=3", "batch_size: 2 → 3"),
        (others, "--batch_size=2", "records: 6, "),
        (data, f"--rename_field={added}=x", "fields: "),
        # Batches that are decoded as one are kept as one.
        *[(data, "--batches_in_turn=2", "batches_in_turn: 8 → 2")]
        * (name == "generate"),
    ]:
        assert command(name, nll_dir, source, out, *flags, flag) == 2
        assert named in capsys.readouterr().err
    assert partial.read_bytes() == content


@pytest.mark.slow
def test_generate_and_score_take_pipes_and_keep_fields(nll_dir, data, tmp_path, capfd):
    """A record's answer is its own, whatever the order, and passes from `-` to `-`."""
    answers, again = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl"
    assert command("generate", nll_dir, data, answers) == 0
    assert command("generate", nll_dir, answers, again) == 2
    shown = capfd.readouterr()
    assert f"6 prompts answered: {answers}" in shown.out
    assert "line 1 has a field 'responses' already" in shown.err
    renamed = "--rename_field=responses=second"
    assert command("generate", nll_dir, answers, again, renamed, "--seed=1") == 0
    for record in read_lines(again):
        assert len(record["responses"]) == len(record["second"]) == 1
    turned = write_lines(tmp_path / "turned.jsonl", RECORDS[::-1][:5])
    capfd.readouterr()
    kept = os.dup(0)
    with turned.open() as file:
        os.dup2(file.fileno(), 0)
    try:
        assert command("generate", nll_dir, "-", "-", "--batch_size=3") == 0
    finally:
        os.dup2(kept, 0)
    shown = capfd.readouterr()
    assert "5 prompts answered: standard output" in shown.err
    found = [json.loads(line) for line in shown.out.splitlines()]
    texts = {
        record["n"]: record["responses"][0]["response"]
        for record in map(
            json.loads, gzip.decompress(answers.read_bytes()).splitlines()
        )
    }
    assert [record["n"] for record in found] == [5, 4, 3, 2, 1]
    for record in found:
        assert record["responses"][0]["response"] == texts[record["n"]]
    scored = write_lines(tmp_path / "s.jsonl", [RECORDS[0] | {"logprob": 1}])
    assert command("score", nll_dir, scored, "-") == 2
    assert "--rename_field logprob=NEW_NAME" in capfd.readouterr().err


@pytest.mark.slow
def test_greedy_and_beam_search(nll_dir, data, tmp_path):
    greedy, beam = tmp_path / "greedy.jsonl", tmp_path / "beam.jsonl"
    assert command("generate", nll_dir, data, greedy, "--temperature=0") == 0
    assert command("generate", nll_dir, data, beam, "--beams=2", "--alpha=0") == 0
    for one, other in zip(read_lines(greedy), read_lines(beam), strict=True):
        best = other["responses"][0]["logprob"]
        assert best >= one["responses"][0]["logprob"] - 1e-4


@pytest.mark.slow
def test_a_dro_v_model_scores_with_values(nll_dir, data, tmp_path):
    folder, scored = tmp_path / "dro_v", tmp_path / "scored.jsonl"
    files = [f.replace("objectives/nll", "objectives/dro_v") for f in FILES]
    start = {"INITIAL_CHECKPOINT_PATH": f"'{nll_dir}'"}
    assert main(["train", *files, *train_flags(folder, data, **start)]) == 0
    assert command("score", folder, data, scored) == 0
    assert all(np.isfinite(record["value"]) for record in read_lines(scored))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--beams=2", "--temperature=0.5"), "beam search does not sample"),
        (("--beams=2", "--num_samples=3"), "cannot come from 2 beams"),
        (("--step=99",), "no checkpoint at"),
        (("--max_decode_length=0",), "max_decode_length is 0; give at least 1"),
        (
            ("--gin_file=gin_configs/models/mini.gin",),
            "does not fit the model that its config.gin and the flags describe",
        ),
        (("--gin.MIXTURE_OR_TASK_NAME=no_such",), "'no_such'"),
        (("--gin.MIXTURE_OR_TASK_NAME=None",), "None must be text: the name of a task"),
        (("--gin.MIXTURE_OR_TASK_MODULE=3",), "3 must be text: modules' names"),
        (("--gin.TASK_FEATURE_LENGTHS={'inputs': 4}",), "lacks 'targets'"),
        (("--gin.TASK_FEATURE_LENGTHS=3",), "3 must be lengths, as {'inputs': 512"),
        (("--gin.MODEL=None",), "MODEL = None must be a model"),
    ],
)
def test_generate_refuses_what_cannot_work(nll_dir, data, tmp_path, flags, message,
                                           capsys):  # fmt: skip
    assert command("generate", nll_dir, data, tmp_path / "out.jsonl", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_value_that_is_not_stored_is_no_score(nll_dir, data, tmp_path, capsys):
    objective = "--gin_file=gin_configs/objectives/dro_v.gin"
    out = tmp_path / "out.jsonl"
    assert command("score", nll_dir, data, out, objective) == 2
    assert "holds no value estimate of the shapes" in capsys.readouterr().err
    assert not out.exists()
    # Whoever needs no value does not ask for it.
    assert command("generate", nll_dir, data, out, objective) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "say"', "line 2"),
        ('{"prompt": "say yes"}', "field 'response' is missing"),
        ('{"prompt": "say yes", "response": " "}', "the response is empty"),
    ],
)
def test_score_names_the_record_it_cannot_use(nll_dir, tmp_path, line, message, capsys):
    source = tmp_path / "pairs.jsonl"
    source.write_text(json.dumps(RECORDS[0]) + "\n" + line + "\n")
    assert command("score", nll_dir, source, tmp_path / "out.jsonl") == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "pairs.jsonl line 2" in shown


BAD_LINES = {
    "not JSON": ("{not json", "is not JSON"),
    "a missing field": ('{"prompt": "a", "response": "b"}', "'reward' is missing"),
    "a NaN reward": (
        '{"prompt": "a", "response": "b", "reward": NaN}',
        "the reward is nan",
    ),
    "an empty response": ('{"prompt": "a", "response": "", "reward": 1}', "is empty"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_record_stops_a_run_by_name_or_is_counted(kind, tmp_path, capsys):
    line, message = BAD_LINES[kind]
    data = write_lines(tmp_path / f"{abs(hash(kind))}.jsonl", RECORDS)
    with data.open("a") as file:
        file.write(line + "\n")
    flags = train_flags(tmp_path / "model", data)
    assert main(["train", *FILES, *flags]) == 2
    shown = capsys.readouterr().err
    assert f"{data.name} line 7" in shown
    assert message in shown
    assert "Traceback" not in shown

    name = f"'dropping_{data.stem}'"
    flags = train_flags(
        tmp_path / "dropped",
        data,
        ON_BAD_RECORD="'drop'",
        TRAIN_STEPS=1,
        **{"jsonl.jsonl_task.name": name},
    )
    assert main(["train", *FILES, *flags]) == 0
    facts = json.loads((tmp_path / "dropped" / "reward_statistics.json").read_text())
    (record,) = facts[name.strip("'")]["records"]["dropped"]
    assert record["identity"].endswith(f"{data.name} line 7")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"BATCHSIZE": 4}, "did you mean BATCH_SIZE?"),
        ({"VOCAB_SIZE": 64}, "pieces but T5Config.vocab_size is 64"),
        ({"INITIAL_CHECKPOINT_PATH": "'/no/such'"}, "no checkpoint at /no/such"),
        ({"VOCABULARY": "'/no/such.model'"}, "/no/such.model"),
    ],
)
def test_bad_settings_are_one_paragraph(settings, message, data, tmp_path, capsys):
    name = f"'task_{abs(hash(message))}'"
    flags = train_flags(
        tmp_path / "model", data, **settings, **{"jsonl.jsonl_task.name": name}
    )
    assert main(["train", *FILES, *flags]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in shown if line.startswith("dro-jax train: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(data, tmp_path, capsys):
    folder = tmp_path / "model"
    assert main(["train", "--dry_run", *FILES, *train_flags(folder, data)]) == 0
    shown = capsys.readouterr().out
    assert "TRAIN_STEPS = 4" in shown
    for line in (
        "policy: 17,136 parameters",
        "  decoder_target_tokens int32[8,8]",
        "starts from: random parameters",
        "trains: to step 4 with NLL",
        "evaluates: never",
        "nothing was trained, and nothing written",
    ):
        assert line in shown.splitlines()
    assert not folder.exists()


def test_env_prints_versions_and_devices_and_no_paths(capsys):
    assert main(["env"]) == 0
    shown = capsys.readouterr().out
    for start in ("dro-jax ", "Python 3.", "devices: 8 × cpu", "jax ", "seqio "):
        assert any(line.startswith(start) for line in shown.splitlines())
    assert "/" not in shown


@pytest.mark.slow
def test_another_configuration_is_refused_until_overwrite(data, tmp_path, capsys):
    folder = tmp_path / "model"

    def train(*flags, **settings):
        return main(["train", *FILES, *flags, *train_flags(folder, data, **settings)])

    def steps():
        return [record["step"] for record in read_lines(folder / "metrics.jsonl")]

    assert train() == 0
    (folder / "notes.txt").write_text("mine")
    # The same run, finished; then longer, which a constant rate allows.
    capsys.readouterr()
    assert train() == 0
    shown = capsys.readouterr().err
    assert "this run is finished: it has done 4 steps, and TRAIN_STEPS is 4" in shown
    assert "reading" not in shown
    assert f"dro-jax generate --model_dir={folder} --input" in shown
    assert train(TRAIN_STEPS=6) == 0
    shown = capsys.readouterr().err
    assert "going on from checkpoint_4" in shown
    assert "first step done in" in shown
    assert steps() == [2, 4, 6]
    before = read_lines(folder / "metrics.jsonl")
    capsys.readouterr()
    changes = {"LEARNING_RATE": 0.5, "TRAIN_STEPS": 2}
    assert train(**changes) == 2
    shown = capsys.readouterr().err
    assert "LEARNING_RATE: 0.0001 → 0.5" in shown
    assert "--overwrite" in shown
    assert "add --allow_change=LEARNING_RATE" in shown
    assert train("--allow_change=LEARNING_RATE", TRAIN_STEPS=8, LEARNING_RATE=0.5) == 0
    assert (folder / "config_until_step_6.gin").is_file()
    lines = read_lines(folder / "metrics.jsonl")
    assert lines[-1]["learning_rate"] > 1000 * lines[-2]["learning_rate"]
    assert lines[:-1] == before
    before = lines
    changes["LEARNING_RATE"] = 0.25
    assert train(**changes) == 2
    assert read_lines(folder / "metrics.jsonl") == before
    assert train("--overwrite", **changes) == 0
    assert steps() == [2]
    assert "LEARNING_RATE = 0.25" in (folder / "config.gin").read_text()
    assert {path.name for path in folder.glob("checkpoint_*")} == {"checkpoint_2"}
    assert (folder / "notes.txt").read_text() == "mine"


def test_tasks_list_and_inspect(capsys, tmp_path):
    assert main(["tasks", "list"]) == 0
    listed = capsys.readouterr().out
    for name in ("support_desk", "hha", "hha_raw", "hha_pro"):
        assert name in listed
    report, picture = tmp_path / "report.json", tmp_path / "rewards.png"
    flags = [f"--json={report}", f"--png={picture}"]
    gin_file = "--gin_file=gin_configs/tasks/support_desk.gin"
    assert main(["tasks", "inspect", gin_file, *flags]) == 0
    shown = capsys.readouterr().out
    assert "support_desk" in shown
    assert json.loads(report.read_text())["name"] == "support_desk"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_inspecting_an_unknown_task_names_near_ones(capsys):
    module = "--module=dro_jax.tasks.support_desk.task"
    assert main(["tasks", "inspect", "suport_desk", module]) == 2
    message = capsys.readouterr().err
    assert "Near names: support_desk" in message
    assert "name that module by --module" in message
    assert "no module was named" not in message
