"""`dro-jax tasks inspect FILE`, and the commands that it prints."""

import json
import shlex

import pytest
from published_dialogues import FAITHDIAL, WIZARD
from published_files import PUBLISHED
from split_texts import prompts_of, responses_of

from dro_jax.cli import gin_setup
from dro_jax.cli.main import gin_bindings, main
from dro_jax.cli.parser import build_parser
from dro_jax.data.tasks import feedback_task


@pytest.fixture
def write(tmp_path):
    def write(records, name="records.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(path)

    return write


def _commands(text):
    return [line.strip() for line in text.splitlines() if "dro-jax train" in line]


def test_a_file_is_guessed_and_the_printed_command_reads_it_so(write, capsys, tmp_path):
    path = write([*PUBLISHED["ultrafeedback"][0], {"instruction": "a"}])
    report = tmp_path / "report.json"
    assert main(["tasks", "inspect", path, f"--json={report}"]) == 0
    text = capsys.readouterr().out
    for part in (
        "    Human: Where is it?",
        "layout: ultrafeedback, UltraFeedback's instruction",
        "  LAYOUT = 'ultrafeedback'",
        "  TASK_FEATURE_LENGTHS = {'inputs': 32, 'targets': 32}",
    ):
        assert part in text
    assert (
        json.loads(report.read_text())["prompt"]["max"]
        == len("Human: Where is it?\n\nAssistant:") + 1
    )
    first, then = _commands(text)
    assert "INITIAL_CHECKPOINT_PATH=\"'runs/reference'\"" in then
    # The command, as far as to its task.
    program, *flags = shlex.split(first)
    arguments, rest = build_parser().parse_known_args(flags)
    assert (program, arguments.command) == ("dro-jax", "train")
    name = f"'inspected_{tmp_path.name}'"
    bindings = [*gin_bindings(rest), f"jsonl.jsonl_task.name = {name}"]
    gin_setup.parse(arguments.gin_file, bindings, "", [])
    task = feedback_task(gin_setup.macro("MIXTURE_OR_TASK_NAME"))
    loaded = task.records("train")
    trajectories = zip(
        prompts_of(loaded), responses_of(loaded), loaded.rewards, strict=True
    )
    assert list(trajectories) == PUBLISHED["ultrafeedback"][1]


def test_fields_of_one_s_own_are_printed_where_they_are_not_the_layout_s(write, capsys):
    rows = [{"question": "q", "response": "r$", "up": i % 2} for i in range(4)]
    path = write([*rows, {"question": "q"}], "it's.jsonl")
    assert main(["tasks", "inspect", path, "--reward_field=up", "--examples=0"]) == 0
    text = capsys.readouterr().out
    assert "(likely: look at the records above)" in text
    _, settings = text.split("In gin, after gin_configs/tasks/jsonl.gin:\n")
    settings = settings.split("\n\n")[0].splitlines()
    assert [line.strip() for line in settings[1:5]] == [
        "PROMPT_FIELD = 'question'",
        "REWARD_FIELD = 'up'",
        "REWARD_KIND = 'thumbs'",
        "ON_BAD_RECORD = 'drop'",
    ]
    bindings = gin_bindings(shlex.split(_commands(text)[0])[6:])
    assert f"TRAIN_PATH = {path!r}" in bindings


@pytest.mark.parametrize(
    ("rows", "flags", "message"),
    [
        ([{"prompt": "p", "response": "r"}], [], "Name it by --reward_field"),
        ([{"prompt": "p"}], ["--layout=columns"], "layout = 'columns' is unknown"),
        ([{"prompt": "p"}], ["--split=dev"], "--split dev has no effect"),
        ([], [], "holds no records"),
    ],
)
def test_what_cannot_be_inspected_is_one_message(write, capsys, rows, flags, message):
    assert main(["tasks", "inspect", write(rows), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layout", "rows"), [("wizard_of_wikipedia", WIZARD), ("faithdial", FAITHDIAL)]
)
def test_a_file_without_rewards_is_told_what_scores_it(write, capsys, layout, rows):
    path = write(rows)
    assert main(["tasks", "inspect", path]) == 2
    told = capsys.readouterr().err
    assert f"{path} holds no rewards (layout {layout}: '" in told
    (command,) = [line.strip() for line in told.splitlines() if "  dro-jax" in line]
    assert "--gin.SCORED_BY=%REWARD" in command
    # What is printed shows the records.
    own = (f"jsonl.jsonl_task.name='{layout}_scored'", "REWARD_TRANSFORM='none'")
    flags = [*shlex.split(command)[1:], *(f"--gin.{setting}" for setting in own)]
    assert main(flags) == 0
    assert "Knowledge: " in capsys.readouterr().out


def test_flags_of_a_file_are_refused_for_a_task(capsys):
    assert main(["tasks", "inspect", "support_desk", "--reward_field=x"]) == 2
    assert (
        "--reward_field has no effect on a registered task" in capsys.readouterr().err
    )
    assert main(["tasks", "inspect", "./nowhere.jsonl"]) == 2
    assert "nowhere.jsonl does not exist" in capsys.readouterr().err
