import pytest

from dro_jax import whole_files
from dro_jax.evaluation import kept_evaluations
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, SampledResponse
from dro_jax.evaluation.kept_evaluations import Unfinished

ASKED = {"task": "desk", "split": "validation", "num_prompts": 2}
SETTINGS = ASKED | {
    "prompts": "12", "decoding": {"num_samples": 2}, "lengths": {"inputs": 4},
    "checkpoint": {"step": 3, "digest": "ab"}, "reference": None,
}  # fmt: skip


def responses(prompt, count=2):
    return [
        SampledResponse(prompt, i, "p", f"é\ud800 {i}", tokens=2, cut=False, logprob=-1.0)
        for i in range(count)
    ]


def test_what_is_asked_names_the_folder(tmp_path):
    folder = kept_evaluations.folder_of(tmp_path, ASKED)
    assert folder.parent == tmp_path / "evaluations"
    assert folder.name.startswith("desk_validation_") and len(folder.name) == 24
    other = kept_evaluations.folder_of(tmp_path, ASKED | {"num_prompts": 3})
    assert other != folder


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"rewards": {"long": "1"}}, True),
        ({"reference": {"digest": "x"}}, True),
        ({"checkpoint": {"step": 4, "digest": "ab"}}, False),
        ({"prompts": "13"}, False),
        ({"lengths": {"inputs": 5}}, False),
    ],
)
def test_an_evaluation_is_kept_while_its_samples_are_the_same(tmp_path, change, same):
    run = EvaluatedRun("run", SETTINGS, tuple(responses("a")), {"kl": Estimate(1.0)})
    run.write(tmp_path)
    found = kept_evaluations.kept(tmp_path, SETTINGS | change)
    assert (found == run) if same else (found is None)


def test_what_a_kill_leaves_half_written_is_not_kept(tmp_path, monkeypatch):
    run = EvaluatedRun("run", SETTINGS, tuple(responses("a")), {})
    assert kept_evaluations.kept(tmp_path, SETTINGS) is None
    run.write(tmp_path)
    monkeypatch.setattr(
        "dro_jax.evaluation.evaluated_run.as_line", lambda _: 1 / 0, raising=True
    )
    other = SETTINGS | {"checkpoint": {"step": 9, "digest": "cd"}}
    with pytest.raises(ZeroDivisionError):
        EvaluatedRun("run", other, tuple(responses("b")), {}).write(tmp_path)
    # The new settings stand beside the old responses, and are not taken for theirs.
    assert kept_evaluations.kept(tmp_path, other) is None


def test_sampling_goes_on_where_it_was_stopped(tmp_path):
    first = Unfinished.open(tmp_path, SETTINGS)
    first.add(responses("a"))
    first.add(responses("b"))
    whole = first.path.read_bytes()
    for end in (len(whole), len(whole) - 5):
        first.path.write_bytes(whole[:end])
        again = Unfinished.open(tmp_path, SETTINGS)
        kept = [*responses("a"), *responses("b")] if end == len(whole) else responses("a")
        assert again.responses == kept
    again.add(responses("b"))
    assert Unfinished.open(tmp_path, SETTINGS).path.read_bytes() == whole
    # Of a damaged file, and of another checkpoint, nothing is taken.
    again.path.write_bytes(whole.replace(b"tokens", b"token", 1))
    assert Unfinished.open(tmp_path, SETTINGS).responses == []
    other = Unfinished.open(tmp_path, SETTINGS | {"checkpoint": {"step": 4}})
    assert other.responses == []
    other.remove()
    assert not list(tmp_path.iterdir())


def test_a_kill_while_it_is_opened_again_loses_nothing(tmp_path, monkeypatch):
    first = Unfinished.open(tmp_path, SETTINGS)
    first.add(responses("a"))
    whole = first.path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(whole_files.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            Unfinished.open(tmp_path, SETTINGS)
    assert first.path.read_bytes() == whole
