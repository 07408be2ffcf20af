import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny_classifiers
from in_transformers import needs

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.rewards import CachedReward, Classifier, GradualReward
from dro_jax.rewards.classifier import label_index, label_scores


def with_torch(test):
    """Each of these loads torch in a process of its own."""
    return pytest.mark.slow(needs("torch", "transformers")(test))


PROMPTS = ["it is a", "so", "a b c d", "the day"]
RESPONSES = ["good day", "bad", "so is it", ""]


# ------------------------------------------------------------------ without a network


def test_outputs_of_one_of_several_labels():
    logits = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [-800.0, 0.0, 800.0]])
    assert label_scores(logits, 1, "logit", False).tolist() == [2.0, 0.0, 0.0]
    e = np.exp(1.0)
    assert label_scores(logits, 1, "probability", False) == pytest.approx(
        [e**2 / (e + e**2 + e**4), 1 / 3, 0.0]
    )
    odds = label_scores(logits, 1, "log_odds", False)
    assert odds == pytest.approx([2 - np.log(e + e**4), -np.log(2), -800.0])
    # Where 1 − p is no more than a rounding error, the log-odds are still exact.
    assert label_scores(logits, 2, "log_odds", False)[2] == pytest.approx(800.0)


def test_outputs_of_labels_by_themselves():
    logits = np.array([[0.0, 3.0], [-900.0, 900.0]])
    assert label_scores(logits, 0, "probability", True).tolist() == [0.5, 0.0]
    assert label_scores(logits, 1, "probability", True)[1] == 1.0
    assert label_scores(logits, 1, "log_odds", True).tolist() == [3.0, 900.0]


def test_a_label_is_chosen_by_name_or_number():
    labels = ["bad", "good", "2"]
    assert [label_index(labels, x, "m") for x in ("good", 0, "1", "2")] == [1, 0, 1, 2]
    assert label_index(["score"], None, "m") == 0
    with pytest.raises(ConfigError, match=r"one of 0 \(bad\), 1 \(good\)"):
        label_index(labels, None, "m")
    for wrong in ("Good", 3, -1):
        with pytest.raises(ConfigError, match="has no label"):
            label_index(labels, wrong, "m")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"output": "odds"}, "'logit', 'probability', 'log_odds'"),
        ({"dtype": "int8"}, "'float32'"),
        ({"template": "{prompt}"}, "once, {response}"),
        ({"batch_size": 0}, "1 or more"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Classifier("model", **settings)


def test_pickles_are_refused_with_how_to_convert_them(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(CheckpointError) as caught:
        Classifier(str(tmp_path))(["p"], ["r"])
    for words in (
        "pytorch_model.bin",
        "a pickle can run any code",
        "AutoModelForSequenceClassification.from_pretrained",
    ):
        assert words in str(caught.value)
    assert not pathlib.Path("hacked").exists()


def test_a_model_with_code_of_its_own_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "x.Model"}}')
    with pytest.raises(CheckpointError, match="code lies beside it"):
        Classifier(str(tmp_path))(["p"], ["r"])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no folder"):
        Classifier(str(tmp_path / "none"))(["p"], ["r"])


# --------------------------------------------------------------------- with torch


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny classifiers, and what transformers itself says of the texts."""
    root = tmp_path_factory.mktemp("classifiers")
    chat = "{% for m in messages %}[CLS] {{ m.content }} {% endfor %}"
    steps = [
        ("make", root / "three", ["bad", "so so", "good"], None, None),
        ("make", root / "one", ["score"], "regression", chat),
        ("make", root / "many", ["kind", "true"], "multi_label_classification", None),
    ]
    calls = [
        (
            name,
            {
                "folder": str(folder),
                "labels": labels,
                "problem": problem,
                "chat_template": template,
            },
        )
        for name, folder, labels, problem, template in steps
    ]
    calls.append(
        (
            "make_headless",
            {"folder": str(root / "one"), "new_folder": str(root / "headless")},
        )
    )
    texts = list(zip(PROMPTS, RESPONSES, strict=True))
    calls.append(("logits", {"folder": str(root / "three"), "texts": texts}))
    done = subprocess.run(
        [sys.executable, tiny_classifiers.__file__, json.dumps(calls)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=False,  # what it printed tells more
    )
    assert done.returncode == 0, done.stderr
    return root, np.array(json.loads(done.stdout.splitlines()[-1]))


@with_torch
def test_scores_are_those_of_transformers(models):
    root, logits = models
    for n, label in enumerate(("bad", "so so", "good")):
        reward = Classifier(str(root / "three"), label=label, batch_size=3)
        found = reward(PROMPTS, RESPONSES).total
        assert found == pytest.approx(logits[:, n], rel=1e-4, abs=1e-5)
    assert np.ptp(logits, axis=0).min() > 0.05
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    reward = Classifier(str(root / "three"), 2, output="probability", all_labels=True)
    found = reward(PROMPTS, RESPONSES)
    assert found.total == pytest.approx(probabilities[:, 2], rel=1e-4)
    assert list(found.parts) == ["bad", "so so", "good"]
    assert found.parts["bad"] == pytest.approx(probabilities[:, 0], rel=1e-4)
    assert reward([], []).total.shape == (0,)


@with_torch
def test_templates_join_prompt_and_response(models):
    root, _ = models
    path = str(root / "one")
    chat = Classifier(path, template="chat")(["it is"], ["good"]).total
    # The chat template of this tokenizer, which writes [CLS] itself; no [SEP].
    said = Classifier(path, template="{prompt} [CLS] {response}")(["it is"], ["good"])
    assert chat[0] != pytest.approx(said.total[0], abs=1e-4)
    pair = Classifier(path)(["so {response}"], ["good"]).total
    text = Classifier(path, template="{prompt} [SEP] {response}")
    assert text(["so {response}"], ["good"]).total[0] != pair[0]  # other segments
    with pytest.raises(ConfigError, match="no chat template"):
        Classifier(str(root / "many"), "kind", template="chat")(["p"], ["r"])


@with_torch
def test_what_is_too_long_is_cut_at_its_beginning_and_told(models, capsys):
    path = str(models[0] / "one")
    template = "{prompt} {response}"
    reward = Classifier(path, template=template)
    found = reward(["a b c d " * 5, "b " * 5 + "c d"], ["good", "so is it"])
    kept = reward(["c d a b c d a b c d"[2:]], ["good"])
    assert found.total[0] == pytest.approx(kept.total[0], rel=1e-4)
    told = capsys.readouterr().err
    assert "1 of 2 texts had more than 12 tokens" in told


@with_torch
def test_a_label_that_holds_by_itself_and_the_cache(models, tmp_path):
    reward = Classifier(str(models[0] / "many"), "true", output="log_odds")
    plain = reward(PROMPTS, RESPONSES).total
    logit = Classifier(str(models[0] / "many"), "true")(PROMPTS, RESPONSES).total
    assert plain.tolist() == logit.tolist()
    assert isinstance(reward, GradualReward)
    cached = CachedReward(reward, tmp_path)
    assert cached(PROMPTS, RESPONSES).total.tolist() == plain.tolist()
    assert cached(PROMPTS, RESPONSES).total.tolist() == plain.tolist()


@with_torch
def test_fingerprints_follow_weights_and_settings_not_places(models, tmp_path):
    folder = models[0] / "one"
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    first = Classifier(str(folder)).fingerprint
    assert Classifier(str(copy), batch_size=3, device="cpu").fingerprint == first
    assert Classifier(str(copy), max_length=7).fingerprint != first
    weights = copy / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(weights, ns=(1, 1))
    assert Classifier(str(copy)).fingerprint != first


@with_torch
def test_a_network_without_a_trained_head_is_refused(models):
    with pytest.raises(CheckpointError, match=r"lack classifier\.bias.*random numbers"):
        Classifier(str(models[0] / "headless"))(["p"], ["r"])


@with_torch
def test_what_transformers_cannot_load_is_told(models, tmp_path):
    for path in (models[0] / "one").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(CheckpointError, match="cannot be used: ValueError"):
        Classifier(str(tmp_path))(["p"], ["r"])
