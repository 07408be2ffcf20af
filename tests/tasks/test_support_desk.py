"""The support desk: its reward by hand, its files made again, its task."""

import functools
import gzip
import importlib
import json
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from dro_jax.errors import DataError
from dro_jax.tasks.support_desk import generate, language
from dro_jax.tasks.support_desk.language import Role
from dro_jax.tasks.support_desk.reward import (
    Request,
    best_possible,
    read_prompt,
    read_reply,
    satisfaction,
)
from dro_jax.tasks.support_desk.thumbs import ThumbLaw

FOLDER = Path(generate.__file__).parent
CONFIGS = Path(__file__).parents[2] / "gin_configs"
PROMPT = "Hi, Anna here. Order K7 is broken. Please help."
GREETING, APOLOGY = "Hi Anna,", "Sorry about K7."
STEP, CLOSING = "A new one ships today.", "Kind regards."
FILLER, RUDE = "It is raining here.", "Read the rules."


def _score(*sentences):
    return satisfaction(PROMPT, " ".join(sentences))


@pytest.fixture(scope="module")
def shipped():
    def read(split):
        lines = gzip.decompress((FOLDER / f"{split}.jsonl.gz").read_bytes())
        return [json.loads(line) for line in lines.splitlines()]

    return {split: read(split) for split in ("train", "validation")}


@pytest.fixture(scope="module")
def vocabulary():
    path = FOLDER / "support_desk.model"
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


# Expected scores: the weights of the reward's docstring, added by hand.
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((GREETING, APOLOGY, STEP, CLOSING), 1.0),
        (("Hi Boris,", APOLOGY, STEP, CLOSING), 0.80 - 0.10),
        (("Hello,", APOLOGY, STEP, CLOSING), 0.80),
        ((APOLOGY, STEP, CLOSING), 0.80),
        ((GREETING, "Sorry about K8.", STEP, CLOSING), 0.80 - 0.10),
        ((GREETING, "I am sorry.", STEP, CLOSING), 0.80),
        ((GREETING, "I see K7.", STEP, CLOSING), 0.85),
        ((GREETING, "I see K7.", "I am sorry.", STEP, CLOSING), 1.0),
        ((GREETING, APOLOGY, "We will repair it.", CLOSING), 1.0),
        ((GREETING, APOLOGY, "We will look into it.", CLOSING), 0.70 + 0.10),
        ((GREETING, APOLOGY, "The refund is made.", CLOSING), 0.70),
        ((GREETING, APOLOGY, CLOSING), 0.70),
        ((GREETING, APOLOGY, STEP), 0.85),
        ((CLOSING,), 0.15),
        (("Okay.",), 0.0),
        (("Hi Boris,", "I see K8."), 0.0),
    ],
)
def test_gained(reply, expected):
    assert _score(*reply) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((GREETING, APOLOGY, FILLER, STEP, CLOSING), 0.8),
        ((GREETING, FILLER, APOLOGY, FILLER, STEP, CLOSING), 0.8**2),
        ((GREETING, APOLOGY, STEP, RUDE, CLOSING), 0.5),
        ((GREETING, APOLOGY, FILLER, STEP, RUDE, CLOSING), 0.8 * 0.5),
        ((GREETING, APOLOGY, APOLOGY, STEP, CLOSING), 0.8),
        ((GREETING, APOLOGY, STEP, "We will repair it.", CLOSING), 0.8),
        ((GREETING, APOLOGY, STEP, "Someone will check.", CLOSING), 0.8),
        ((GREETING, APOLOGY, STEP, "The refund is made.", CLOSING), 0.7 * 0.8),
        ((APOLOGY, GREETING, STEP, CLOSING), 0.8),
        ((GREETING, APOLOGY, CLOSING, STEP), 0.8),
        ((GREETING, APOLOGY, STEP, CLOSING, CLOSING), 0.8),
    ],
)
def test_tone(reply, expected):
    assert _score(*reply) == pytest.approx(expected, abs=1e-12)


def test_form_falls_with_noise_and_a_cut_end():
    # 2 noise words of 10 + 2; a noise word at the end leaves the reply unfinished.
    good = (GREETING, APOLOGY, STEP, CLOSING)
    assert len(" ".join(good).split()) == 12
    noisy = _score(GREETING, "blue fish", *good[1:])
    assert noisy == pytest.approx((12 / 14) ** 2)
    assert _score(*good, "fish") == pytest.approx((12 / 13) ** 2 / 2)
    # Greeting and apology (0.55), 3 loose words of 8, no whole sentence at the end.
    assert _score(GREETING, APOLOGY, "A new one") == pytest.approx(
        0.55 * (5 / 8) ** 2 / 2
    )


@pytest.mark.parametrize(
    "response",
    ["", " \n", "fish", "sorry anna k7", "Hi Anna", "Kind regards", "\x00é💥"],
)
def test_malformed_text_scores_zero(response):
    assert satisfaction(PROMPT, response) == 0.0


def test_any_text_scores_between_zero_and_one():
    rng = random.Random(0)
    words = [word for t, _, _ in language.reply_templates() for word in t.split()]
    words += ["Anna,", "K7.", "fish", "💥", "{name}"]
    scores = [
        _score(*(rng.choice(words) for _ in range(rng.randrange(12))))
        for _ in range(3000)
    ]
    assert min(scores) == 0.0 and 0.0 < max(scores) <= 1.0


def test_white_space_does_not_matter():
    assert (
        satisfaction(f" {PROMPT}\n", f"{GREETING}\n\n{APOLOGY}  {STEP} {CLOSING} ") == 1
    )


def test_reading_a_reply():
    sentences, noise, finished = read_reply(f"{GREETING} well {APOLOGY} {STEP}")
    assert [s.role for s in sentences] == [Role.GREETING, Role.APOLOGY, Role.STEP]
    assert (sentences[0].name, sentences[1].number) == ("Anna", "K7")
    assert sentences[2].problem == "broken"
    assert (noise, finished) == (1, True)


def test_every_prompt_template_is_read_back():
    for introduction in language.INTRODUCTIONS:
        for problem, templates in language.PROBLEMS.items():
            for template in templates:
                text = f"{introduction} {template}".format(name="Zoe", number="B0")
                assert read_prompt(text) == Request("Zoe", "B0", problem)


@pytest.mark.parametrize("prompt", ["", "Where is it?", f"{PROMPT} {PROMPT}"])
def test_foreign_prompts_are_refused(prompt):
    with pytest.raises(DataError, match="cannot read the prompt"):
        satisfaction(prompt, "Okay.")


def test_best_possible_reaches_the_upper_bound(shipped):
    for record in shipped["validation"]:
        response, reward = best_possible(record["prompt"])
        assert reward == 1.0 == satisfaction(record["prompt"], response)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shipped_records_are_generated_byte_for_byte(split):
    packed = (FOLDER / f"{split}.jsonl.gz").read_bytes()
    made = generate.to_jsonl(generate.generate_records(split, seed=0))
    assert gzip.decompress(packed) == made
    # The gzip header (RFC 1952): no file name flag, modification time 0.
    assert packed[3] == 0 and packed[4:8] == bytes(4)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shipped_replies_are_generated_byte_for_byte(split):
    packed = (FOLDER / f"replies_{split}.jsonl.gz").read_bytes()
    records = generate.generate_replies(split, seed=0)
    assert gzip.decompress(packed) == generate.to_jsonl(records)
    assert len(records) == 4 * len({record["prompt"] for record in records})
    stars = np.array([record["stars"] for record in records])
    true = [satisfaction(record["prompt"], record["response"]) for record in records]
    assert np.corrcoef(stars, true)[0, 1] > 0.7


def test_shipped_vocabulary_is_trained_from_the_shipped_records(shipped, vocabulary):
    made = sentencepiece.SentencePieceProcessor(
        model_proto=generate.train_vocabulary(shipped["train"])
    )
    assert _pieces(made) == _pieces(vocabulary)


def _pieces(model):
    return [model.id_to_piece(i) for i in range(model.vocab_size())]


def test_command_writes_the_files_and_follows_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "NUM_TRAIN", 300)
    monkeypatch.setattr(generate, "NUM_VALIDATION", 20)
    monkeypatch.setattr(generate, "NUM_PROMPTS", {"train": 20, "validation": 5})
    contents = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        generate.main(["--output_dir", str(tmp_path / name), "--seed", str(seed)])
        files = sorted((tmp_path / name).iterdir())
        contents[name] = {file.name: file.read_bytes() for file in files}
    assert set(contents["first"]) == {
        "replies_train.jsonl.gz",
        "replies_validation.jsonl.gz",
        "train.jsonl.gz",
        "validation.jsonl.gz",
        "support_desk.model",
    }
    assert contents["first"] == contents["again"]
    for split in ("train.jsonl.gz", "validation.jsonl.gz"):
        assert contents["first"][split] != contents["other"][split]


def test_shipped_files_are_small():
    names = ("train.jsonl.gz", "validation.jsonl.gz", "support_desk.model")
    assert sum((FOLDER / name).stat().st_size for name in names) < 500_000


def test_splits_share_no_customer(shipped):
    customers = {
        split: {
            (request.name, request.number)
            for request in (read_prompt(record["prompt"]) for record in records)
        }
        for split, records in shipped.items()
    }
    assert not customers["train"] & customers["validation"]
    prompts = [record["prompt"] for records in shipped.values() for record in records]
    assert len(prompts) == len(set(prompts)) == 14_500


def test_vocabulary_covers_the_text_in_few_pieces(shipped, vocabulary):
    assert vocabulary.vocab_size() <= 256
    assert (vocabulary.pad_id(), vocabulary.eos_id(), vocabulary.unk_id()) == (0, 1, 2)
    for name in language.NAMES:
        assert len(vocabulary.encode(name)) == 1
    # With EOS: the lengths of gin_configs/tasks/support_desk.gin.
    limits = {"prompt": 18, "response": 24}
    for record in shipped["train"] + shipped["validation"]:
        for field, limit in limits.items():
            ids = vocabulary.encode(record[field])
            assert len(ids) + 1 <= limit and vocabulary.unk_id() not in ids
            assert vocabulary.decode(ids) == record[field]


def test_vocabulary_spells_other_words(vocabulary):
    text = "Good afternoon, Wolfgang!"
    ids = vocabulary.encode(text)
    assert vocabulary.unk_id() not in ids and vocabulary.decode(ids) == text


def test_logged_agents_are_mediocre(shipped):
    train = shipped["train"]
    scores = np.array([satisfaction(r["prompt"], r["response"]) for r in train])
    assert 0.35 < scores.mean() < 0.45
    assert 0.05 < np.mean(scores >= 0.8) < 0.12
    traits = np.array([_traits(record) for record in train], np.float64)
    shares = traits.mean(axis=0)
    assert np.all((shares > 0.3) & (shares < 0.85)), shares
    # Each virtue is drawn by itself; curt and cut replies couple them a little.
    correlations = np.corrcoef(traits.T) - np.eye(traits.shape[1])
    assert np.max(np.abs(correlations)) < 0.25, correlations


def _traits(record):
    request = read_prompt(record["prompt"])
    sentences, _, _ = read_reply(record["response"])
    roles = {sentence.role for sentence in sentences}
    return (
        any(s.name == request.name for s in sentences),
        any(s.number == request.number for s in sentences),
        Role.APOLOGY in roles,
        any(s.problem == request.problem for s in sentences),
        Role.FILLER not in roles,
        Role.RUDE not in roles,
        Role.CLOSING in roles,
    )


def test_thumbs_are_noisy_and_follow_satisfaction(shipped):
    train = shipped["train"]
    scores = np.array([satisfaction(r["prompt"], r["response"]) for r in train])
    ups = np.array([r["thumb"] == "up" for r in train])
    assert {r["thumb"] for r in train} == {"up", "down"}
    # sigmoid(6 (s - 1/2)) at s = 1, 1/2, 0.
    up = functools.partial(ThumbLaw().up_probability, PROMPT)
    assert up(1.0) == pytest.approx(0.9525741268)
    assert up(0.5) == 0.5
    assert up(0.0) == pytest.approx(0.0474258732)
    fifths = np.minimum((scores * 5).astype(int), 4)
    for fifth in range(5):
        inside = fifths == fifth
        expected = np.mean([up(s) for s in scores[inside]])
        error = math.sqrt(expected * (1 - expected) / inside.sum())
        assert abs(ups[inside].mean() - expected) < 4 * error


@pytest.mark.slow
def test_task_gives_normalised_thumbs_and_the_true_reward(shipped):
    from dro_jax.data.dataset import DatasetConfig
    from dro_jax.data.tasks import feedback_task

    importlib.import_module("dro_jax.tasks.support_desk.task")
    task = feedback_task("support_desk")
    assert task.reward_fn is satisfaction
    statistics = task.statistics()
    assert (statistics.transformed.mean, statistics.transformed.std) == pytest.approx(
        (0, 1), abs=1e-5
    )

    batch = next(
        DatasetConfig(
            "support_desk",
            {"inputs": 18, "targets": 24},
            split="validation",
            batch_size=8,
            shuffle=False,
        ).batches()
    )
    ups = np.array([record["thumb"] == "up" for record in shipped["train"]])
    for row, record in enumerate(shipped["validation"][:8]):
        prompt = task.vocabulary.decode(batch["encoder_input_tokens"][row].tolist())
        response = task.vocabulary.decode(batch["decoder_target_tokens"][row].tolist())
        assert (prompt, response) == (record["prompt"], record["response"])
        thumb = 1.0 if record["thumb"] == "up" else -1.0
        mean = 2 * ups.mean() - 1
        expected = (thumb - mean) / math.sqrt(1 - mean**2)
        assert batch["rewards"][row, 0] == pytest.approx(expected, abs=1e-5)
    assert not batch["truncated"].any()


def test_units_of_the_gin_file_are_those_of_the_thumbs(shipped):
    """Replies that were logged earn on average what their thumbs do (docs/a_lol.md)."""
    gin = (CONFIGS / "samples" / "support_desk.gin").read_text("utf-8")
    scale, shift = map(float, re.findall(r"(?m)^REFERENCE_REWARD_S\w+ = (\S+)", gin))
    thumbs = np.array([2.0 * (x["thumb"] == "up") - 1 for x in shipped["train"]])
    mean, std = thumbs.mean(), thumbs.std()
    for worth, thumb in ((1.0, 1.0), (0.0, -1.0)):
        of_sample = scale * (worth - mean) / std + shift
        assert of_sample == pytest.approx((thumb - mean) / std, abs=1e-3)
    log = shipped["train"][:4000]
    scores = np.array([satisfaction(x["prompt"], x["response"]) for x in log])
    rewards = (thumbs[:4000] - mean) / std
    samples = (scores - mean) / std
    assert (scale * samples + shift).mean() == pytest.approx(rewards.mean(), abs=0.03)
    # By the transform alone they are far above.
    assert samples.mean() > rewards.mean() + 0.5
