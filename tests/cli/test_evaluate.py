"""Two runs of two steps, compared: what is computed, kept, and refused."""

import itertools
import json
import shutil

import gin
import pytest
from small_gin import SIZES

from dro_jax import exit_codes
from dro_jax.cli import evaluation_session
from dro_jax.cli.main import main
from dro_jax.cli.task_modules import forgotten_tasks
from dro_jax.evaluation.evaluated_run import EvaluatedRun
from dro_jax.evaluation.sampled_responses import sampled_responses

RECORDS = [
    {"prompt": f"say {word}", "response": answer, "reward": reward}
    for word in ("yes", "no", "maybe", "later", "now")
    for answer, reward in ((word, 1.0), ("hm", -1.0))
]


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


def train(folder, objective, data, **settings):
    files = ("models/tiny", f"objectives/{objective}", "tasks/jsonl", "runs/train")
    common = {
        "MODEL_DIR": folder,
        "TRAIN_PATH": data,
        "VALIDATION_PATH": data,
        "TRAIN_STEPS": 2,
        "BATCH_SIZE": 8,
        "LOG_PERIOD": 1,
        "EVAL_DATASET": None,
        "train.train.tensorboard": False,
        "TASK_FEATURE_LENGTHS": "{'inputs': 12, 'targets': 8}",
    }
    flags = [f"--gin.{n}={x}" for n, x in (common | SIZES | settings).items()]
    files = [f"--gin_file=gin_configs/{name}.gin" for name in files]
    # In a process of its own the next run may mean other records by `jsonl`.
    with forgotten_tasks():
        assert main(["train", *files, *flags]) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A reference, and DRO-V from it on the same log read with other rewards."""
    folder = tmp_path_factory.mktemp("runs")
    data = folder / "log.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    train(folder / "reference", "nll", data)
    train(
        folder / "dro_v",
        "dro_v",
        data,
        INITIAL_CHECKPOINT_PATH=folder / "reference",
        REWARD_TRANSFORM="'none'",
    )
    gin.clear_config()
    return folder


@pytest.fixture
def copies(runs, tmp_path):
    """The same, to be written into; `dro_v` still starts from the original."""
    for name in ("reference", "dro_v"):
        ignored = shutil.ignore_patterns("evaluations")
        shutil.copytree(runs / name, tmp_path / name, ignore=ignored)
    return tmp_path


def evaluate(*flags):
    return main(["evaluate", *map(str, flags)])


def result(path):
    return json.loads(path.read_text())


def kept(run):
    (folder,) = (run / "evaluations").iterdir()
    return EvaluatedRun.read(folder)


def test_runs_are_compared_with_what_they_started_from(runs, tmp_path, capsys):
    out = tmp_path / "out.json"
    flags = (runs / "dro_v", f"--output={out}", "--num_samples=2", "--seed=3")
    assert evaluate(*flags) == 0
    shown = capsys.readouterr()
    reference, dro_v = result(out)["runs"]
    assert (reference["label"], dro_v["label"]) == ("reference", "dro_v")
    assert reference["figures"]["kl"]["value"] == 0.0
    # Two steps from it.
    assert 0 < abs(dro_v["figures"]["kl"]["value"]) < 0.2
    assert "distinct-2" in shown.out and "no reward: jsonl has no true one" in shown.err
    for label, row in (("reference", reference), ("dro_v", dro_v)):
        found = kept(runs / label)
        assert found.measured() | {"settings": found.settings} == row
        # Five prompts, each once; the better of what was logged.
        assert len(found.responses) == 5 * 2
        assert found.responses[0].references == ("yes",)
        assert found.settings["checkpoint"]["step"] == 2
        assert (found.responses[0].value is None) == (label == "reference")
    assert evaluate(*flags) == 0
    shown = capsys.readouterr()
    assert shown.err.count("sampled before") == 2 and "to answer" not in shown.err
    assert result(out)["runs"] == [reference, dro_v]


REWARDED = """
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task

register_feedback_task(
    "rewarded", JsonlSource({"validation": %r}), vocabulary="byte",
    reward_fn=lambda prompt, response: float(len(response)),
)
"""


def test_a_task_s_own_reward_is_one_more_column(
    copies, runs, monkeypatch, capsys, tmp_path
):
    (tmp_path / "rewarded.py").write_text(REWARDED % str(runs / "log.jsonl"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    flags = ("--task=rewarded", "--module=rewarded", "--num_prompts=3")
    assert evaluate(copies / "reference", *flags) == 0
    found = kept(copies / "reference")
    assert [one.rewards["true_reward"] for one in found.responses] == [
        len(one.response) for one in found.responses
    ]
    assert len(found.responses) == 3
    mean = sum(len(one.response) for one in found.responses) / 3
    assert found.figures["reward"].value == pytest.approx(mean)
    # Nothing is compared with it, and it started from nothing.
    assert "kl" not in found.figures
    assert "true_reward" in capsys.readouterr().out


def sampled(run, *flags):
    shutil.rmtree(run / "evaluations", ignore_errors=True)
    assert evaluate(run, f"--reference={run.parent / 'reference'}", *flags) == 0
    return kept(run).responses


@pytest.mark.slow
def test_nothing_depends_on_batch_devices_or_a_kill(copies, monkeypatch, capsys):
    """Texts exactly, log-probabilities up to rounding, whatever came in between."""
    whole = sampled(copies / "dro_v", "--num_samples=2")
    one_device = ("--gin.DATA_PARALLEL=1", "--batch_size=2")
    assert_same(sampled(copies / "dro_v", "--num_samples=2", *one_device), whole)
    shutil.rmtree(copies / "dro_v" / "evaluations")
    flags = (copies / "dro_v", f"--reference={copies / 'reference'}", "--num_samples=2")
    with monkeypatch.context() as patched:
        patched.setattr(evaluation_session, "sampled_responses", stopped_after(2))
        assert evaluate(*flags, *one_device) == exit_codes.INTERRUPTED.number
    capsys.readouterr()
    page = copies / "page"
    assert evaluate(*flags, *one_device, f"--report={page}") == 0
    assert "dro_v" in (page / "report.html").read_text()
    assert "dro_v: 1 prompt to answer, 4 prompts before" in capsys.readouterr().err
    assert_same(kept(copies / "dro_v").responses, whole)


def stopped_after(batches):
    """Sampling that Ctrl-C ends behind so many batches of whatever run is not kept."""

    def stopping(*arguments, **options):
        yield from itertools.islice(sampled_responses(*arguments, **options), batches)
        raise KeyboardInterrupt

    return stopping


def assert_same(found, whole):
    for one, other in zip(found, whole, strict=True):
        assert one.response == other.response and one.prompt_id == other.prompt_id
        for name in ("logprob", "reference_logprob", "value"):
            expected = pytest.approx(getattr(other, name), abs=1e-4)
            assert getattr(one, name) == expected


REWARD = """
from __gin__ import dynamic_registration
from dro_jax import rewards
from dro_jax.judges import reward_judge

REWARD = @rewards.Length()
rewards.Length.cap = 4
JUDGE = @reward_judge.RewardJudge()
reward_judge.RewardJudge.reward = @rewards.Length()
"""


def test_rewards_and_judges_are_added_to_samples_that_are_there(
    copies, tmp_path, capsys
):
    flags = (copies / "dro_v", f"--reference={copies / 'reference'}", "--seed=9")
    assert evaluate(*flags) == 0
    sampled_before = kept(copies / "dro_v").responses
    (tmp_path / "reward.gin").write_text(REWARD)
    capsys.readouterr()
    more = (f"--gin_file={tmp_path / 'reward.gin'}", "--allow_import=dro_jax.rewards")
    assert evaluate(*flags, *more) == 0
    shown = capsys.readouterr()
    assert shown.err.count("sampled before") == 2 and "to answer" not in shown.err
    assert "win rate, by length" in shown.out
    found = kept(copies / "dro_v")
    words = [min(len(one.response.split()), 4) for one in found.responses]
    assert [one.rewards["length"] for one in found.responses] == words
    assert [one.logprob for one in found.responses] == [
        one.logprob for one in sampled_before
    ]
    assert 0 <= found.figures["win_rate/length"].value <= 1
    (told,) = (copies / "dro_v" / "evaluations").glob("*/verdicts.jsonl")
    assert json.loads(told.read_text())["second"] == "reference"


def test_figures_stay_whatever_the_reference_is_called(copies, tmp_path):
    """Its label is as much of its path as tells it from the others beside it."""
    flags = (f"--reference={copies / 'reference'}", "--seed=11")
    assert evaluate(copies / "dro_v", *flags) == 0
    (tmp_path / "reward.gin").write_text(REWARD)
    more = (f"--gin_file={tmp_path / 'reward.gin'}", "--allow_import=dro_jax.rewards")
    other = tmp_path / "more" / "reference"
    shutil.copytree(copies / "reference", other)
    shutil.rmtree(other / "evaluations")
    assert evaluate(copies / "dro_v", other, *flags, *more) == 0
    found = kept(copies / "dro_v")
    assert found.settings["reference"]["label"].endswith("/reference")
    assert 0 <= found.figures["win_rate/length"].value <= 1
    # Without the reward its scores stay, and what they are by.
    prints = found.settings["rewards"]
    assert evaluate(copies / "dro_v", *flags) == 0
    found = kept(copies / "dro_v")
    assert found.settings["rewards"] == prints != {}
    assert "reward/length" in found.figures


def test_a_reference_may_be_a_plain_checkpoint(copies, capsys):
    """Of T5X for example, which nothing is written into."""
    (copies / "plain").mkdir()
    (copies / "reference" / "checkpoint_2").rename(copies / "plain" / "checkpoint_2")
    assert evaluate(copies / "dro_v", f"--reference={copies / 'plain'}") == 0
    assert [path.name for path in (copies / "plain").iterdir()] == ["checkpoint_2"]
    (folder,) = (copies / "dro_v" / "evaluations").iterdir()
    reference = EvaluatedRun.read(folder / "reference")
    assert reference.label == "plain" and reference.figures["kl"].value == 0.0
    assert EvaluatedRun.read(folder).settings["reference"]["label"] == "plain"
    assert "dro_v" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("{}/nothing",), "nothing: there is no such folder"),
        (("{}",), "is no folder of `dro-jax train`: it has no config.gin"),
        (("{}/dro_v/checkpoint_2",), "give {}/dro_v --step=2"),
        (("{}/dro_v", "--reference={}/none"), "there is no checkpoint at {}/none"),
        (("{}/dro_v", "--task=none"), "'none'"),
        (("{}/dro_v", "--task=support_desk"), "has another vocabulary than dro_v"),
        (("{}/dro_v", "--num_prompts=0"), "--num_prompts must be at least 1"),
        (("{}/dro_v", "--split=test"), "'test'"),
        (("{}/dro_v", "--batch_size=0"), "--batch_size must be at least 1"),
        (("{}/dro_v", "--top_p=2"), "it is a probability"),
        (("{}/moved",), "started from /no/such/run, which is no folder here"),
        (("{}/dro_v", "{}/longer"), "were trained with different lengths"),
        (("{}/dro_v", "{}/other"), "on different data that are both called jsonl"),
        (("{}/no_folder",), "evaluations is a file: name a folder"),
        (("{}/dro_v", "{}/named"), "the task jsonl, and named on another"),
    ],
)
def test_what_cannot_be_compared_is_refused(variants, flags, message, capsys):
    assert evaluate(*(flag.format(variants) for flag in flags)) == 2
    assert message.format(variants) in capsys.readouterr().err
    assert not [path for path in variants.glob("*/evaluations") if path.is_dir()]


@pytest.fixture(scope="module")
def variants(runs, tmp_path_factory):
    """Runs whose settings say something else than those of `dro_v`."""
    folder = tmp_path_factory.mktemp("variants")
    (folder / "log.jsonl").write_text(json.dumps(RECORDS[0]) + "\n")
    for name, old, new in (
        ("dro_v", "", ""),
        ("no_folder", "", ""),
        ("moved", f"'{runs / 'reference'}'", "'/no/such/run'"),
        ("longer", "'targets': 8", "'targets': 9"),
        ("other", f"= '{runs / 'log.jsonl'}'", f"= '{folder / 'log.jsonl'}'"),
        ("named", "jsonl.jsonl_task.layout", "jsonl.jsonl_task.name = 'another'\njsonl.jsonl_task.layout"),
    ):  # fmt: skip
        ignored = shutil.ignore_patterns("evaluations")
        shutil.copytree(runs / "dro_v", folder / name, ignore=ignored)
        text = (runs / "dro_v" / "config.gin").read_text()
        assert old in text
        if name == "no_folder":
            (folder / name / "evaluations").write_text("")
        (folder / name / "config.gin").write_text(text.replace(old, new) if old else text)
    return folder
