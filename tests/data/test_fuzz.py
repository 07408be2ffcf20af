"""Over a thousand malformed records among good ones: none slips through, none is lost.

Each generator below draws from a seeded stream, so every run sees the same records.
"""

import json
import random

import numpy as np
import pytest

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.preprocessing import PROMPT_TRUNCATED
from dro_jax.errors import DataError

SEED = 3
LENGTHS = {"inputs": 24, "targets": 16}
PER_KIND = 60
LONG = 100_000
SPACES = " \t\r\n\v\f\x00\x07\x1f\x85\xa0\u1680\u2003\u2028\u200b\u2060\u3000\ufeff"
ODD_TEXTS = (
    "NUL \x00 inside", "\u202eright to left", "مرحبا بالعالم", "שלום", "e\u0301\u0302\u0323" * 9,
    "👩🏽\u200d🚀 👨‍👩‍👧‍👦", "𝒳𝔘", "\ufeffmark", "line\nline\r\nline", "\u2028separators\u2029",
    "a\uffff\ufdd0", "b\U0010ffff", "a\u0300" * 50, "<pad></s>", "{prompt}", "\\ud83d", "0", "null",
)  # fmt: skip


def text(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(ODD_TEXTS)
    return "".join(rng.choices("abc xyzäß ,.?", k=rng.randint(1, 40))) + "."


def good(rng: random.Random) -> dict:
    """A record that any task can use."""
    reward = rng.choice(
        (0, 1, -1, 10**20, -0.0, 1e-300, 3e38, -3.4e38, rng.gauss(0, 3), rng.random())
    )
    record = {"prompt": text(rng), "response": text(rng), "reward": reward}
    if rng.random() < 0.2:
        record["note"] = rng.choice(
            (None, float("nan"), float("inf"), 10**400, [[{}]], "\x00", True)
        )
    return record


def line(record, **dumps) -> bytes:
    """As JSON; text as UTF-8, where it can be."""
    return json.dumps(record, **dumps).encode()


def long_record(rng):
    role = rng.choice(("prompt", "response"))
    return {**good(rng), role: rng.choice("aä👍 ") * (LONG - 1) + "."}


def bad_number(rng):
    return {
        **good(rng),
        "reward": rng.choice((float("nan"), float("inf"), -float("inf"))),
    }


def too_large_number(rng):
    digits = rng.choice((39, 60, 308, 309, 400, 4000))
    return {
        **good(rng),
        "reward": rng.choice((-1, 1)) * (10**digits - rng.randint(0, 9)),
    }


def number_beyond_double(rng):
    sign, digits = rng.choice(("", "-")), rng.randint(309, 9999)
    return line({**good(rng), "reward": 0.125}).replace(
        b"0.125", f"{sign}1e{digits}".encode()
    )


def number_of_many_digits(rng):
    number = b"9" * rng.randint(5_000, 9_000)
    return line({**good(rng), "reward": 0.125}).replace(b"0.125", number)


def wrong_type_of_reward(rng):
    values = ("1", "0.5", "NaN", "", "👍", [1], [], {}, {"score": 1}, True, False, None)
    return {**good(rng), "reward": rng.choice(values)}


def wrong_type_of_text(rng):
    values = (None, 3, 0.5, True, [], ["text"], {}, {"text": "text"}, [[["deep"]]])
    return {**good(rng), rng.choice(("prompt", "response")): rng.choice(values)}


def empty_text(rng):
    return {**good(rng), rng.choice(("prompt", "response")): ""}


def blank_text(rng):
    blank = "".join(rng.choices(SPACES, k=rng.randint(1, 60)))
    return {**good(rng), rng.choice(("prompt", "response")): blank}


def missing_field(rng):
    record = good(rng)
    for name in rng.sample(("prompt", "response", "reward"), rng.randint(1, 3)):
        del record[name]
    return record


def misspelt_field(rng):
    name = rng.choice(("prompt", "response", "reward"))
    other = rng.choice((name.upper(), f"{name} ", f"{name}s", f"\ufeff{name}"))
    return {other if key == name else key: v for key, v in good(rng).items()}


def half_a_surrogate_pair(rng):
    half = chr(rng.randint(0xD800, 0xDFFF))
    role = rng.choice(("prompt", "response"))
    return {**good(rng), role: rng.choice((f"a{half}", f"{half}a", f"a{half}b"))}


def invalid_utf8(rng):
    broken = rng.choice(
        (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f", b"\x80", b"\xe9")
    )
    raw = line({**good(rng), "response": "a?b"})
    return raw.replace(b"a?b", b"a" + broken + b"b")


def truncated_line(rng):
    raw = line(good(rng))
    return raw[: rng.randint(1, len(raw) - 1)]


def text_after_the_object(rng):
    return line(good(rng)) + rng.choice((b"}", b",", b"]", b" x", b'{"a": 1}', b"\x00"))


def other_json(rng):
    values = (None, True, 3, 0.5, "text", [], [1, 2], [{"prompt": "p"}], float("nan"))
    return line(rng.choice(values))


def python_for_json(rng):
    return repr({**good(rng), "note": None}).encode()


def noise(rng):
    raw = bytes(b for b in rng.randbytes(rng.randint(1, 200)) if b not in b"\n{")
    return b"~" + raw


def deep_nesting(rng):
    depth = rng.randint(20_000, 60_000)
    return rng.choice((b"[", b'{"a":')) * depth


def byte_order_mark_inside(rng):
    return b"\xef\xbb\xbf" + line(good(rng))


def utf16(rng):
    return json.dumps(good(rng)).encode("utf-16-le").replace(b"\n", b"")


BAD = {
    bad_number: {"reward_not_finite"},
    too_large_number: {"reward_not_finite"},
    number_beyond_double: {"reward_not_finite"},
    number_of_many_digits: {"not_json"},
    wrong_type_of_reward: {"reward_not_numeric", "reward_missing"},
    wrong_type_of_text: {"wrong_type"},
    empty_text: {"empty_prompt", "empty_response"},
    blank_text: {"empty_prompt", "empty_response"},
    missing_field: {"missing_field"},
    misspelt_field: {"missing_field"},
    half_a_surrogate_pair: {"invalid_utf8"},
    invalid_utf8: {"invalid_utf8"},
    truncated_line: {"not_json"},
    text_after_the_object: {"not_json"},
    other_json: {"not_object"},
    python_for_json: {"not_json"},
    noise: {"not_json", "invalid_utf8"},
    deep_nesting: {"not_json"},
    byte_order_mark_inside: {"not_json"},
    utf16: {"not_json", "invalid_utf8"},
}


def bad_lines(kind, count=PER_KIND):
    rng = random.Random(f"{SEED} {kind.__name__}")
    for _ in range(count):
        made = kind(rng)
        yield made if isinstance(made, bytes) else line(made, ensure_ascii=True)


def malformed() -> list[tuple[bytes, set[str]]]:
    """(line, reasons it may be dropped for)."""
    return [(raw, reasons) for kind, reasons in BAD.items() for raw in bad_lines(kind)]


def good_lines(count: int) -> list[tuple[bytes, dict]]:
    rng = random.Random(f"{SEED} good")
    records = [good(rng) for _ in range(count)] + [long_record(rng) for _ in range(6)]
    return [(line(r, ensure_ascii=rng.random() < 0.5), r) for r in records]


@pytest.fixture(scope="module")
def mixed():
    """Lines in a random order, with None, reasons or the record for each."""
    rows = malformed() + good_lines(400) + [(b" \t ", None)] * 20
    random.Random(SEED).shuffle(rows)
    return rows


def test_there_are_more_than_a_thousand():
    lines = [raw for raw, _ in malformed()]
    assert len(lines) >= 1_000
    assert len(set(lines)) >= 900
    assert not any(b"\n" in raw for raw in lines)


def expected(rows, task):
    """(identity to reasons of the bad, identity to record of the good), in order."""
    name = task.source.load("train").identities[0].rpartition(" line ")[0]
    bad, fine = {}, {}
    for number, (_, what) in enumerate(rows, start=1):
        identity = f"{name} line {number}"
        if isinstance(what, dict):
            fine[identity] = what
        elif what is not None:
            bad[identity] = what
    return bad, fine


@pytest.mark.parametrize("transform", ["none", "normalize", "sigmoid", "clip(-1, 1)"])
def test_every_bad_record_is_dropped_and_listed_and_every_good_one_kept(
    transform, mixed, register
):
    task = register(
        [raw for raw, _ in mixed], on_bad_record="drop", reward_transform=transform
    )
    loaded = task.source.load("train")
    bad, fine = expected(mixed, task)
    report = task.record_report()
    assert [record.identity for record in report.dropped] == list(bad)
    for record in report.dropped:
        assert record.reason in bad[record.identity]
        assert record.message
    assert report.num_read == len(bad) + len(fine)
    assert loaded.identities == list(fine)
    assert loaded.prompts == [record["prompt"] for record in fine.values()]
    assert loaded.responses == [record["response"] for record in fine.values()]
    np.testing.assert_array_equal(
        loaded.rewards, [float(record["reward"]) for record in fine.values()]
    )
    assert np.isfinite(task.source.rewards("train")).all()
    kept = json.loads(json.dumps(report.to_json(), ensure_ascii=False).encode())
    assert len(kept["dropped"]) == len(bad)


@pytest.mark.parametrize("pack", [False, True], ids=["padded", "packed"])
def test_batches_hold_every_good_record_once_and_nothing_that_is_not_finite(
    pack, mixed, register
):
    task = register(
        [raw for raw, _ in mixed], on_bad_record="drop", reward_transform="normalize"
    )
    _, fine = expected(mixed, task)
    config = DatasetConfig(
        task.name, LENGTHS, batch_size=64, num_epochs=1, seed=SEED, pack=pack
    )
    seen = []
    for batch in config.batches():
        check_batch(batch, task.vocabulary.vocab_size)
        identities = config.identities(batch)
        prompts = [fine[identity]["prompt"].encode() for identity in identities]
        # Bytes and the end-of-text token must fit.
        too_long = [len(prompt) + 1 > LENGTHS["inputs"] for prompt in prompts]
        present = batch["trajectory_weights"] > 0
        assert ((batch["truncated"][present] & PROMPT_TRUNCATED) == too_long).all()
        seen += identities
    assert sorted(seen) == sorted(fine)


def check_batch(batch, vocab_size):
    for name, values in batch.items():
        assert np.isfinite(values).all(), name
        if name.endswith("_tokens"):
            assert values.min() >= 0
            assert values.max() < vocab_size
    present = (batch["trajectory_weights"] > 0).any(axis=1)
    assert (batch["decoder_loss_weights"].sum(axis=1)[present] > 0).all()
    assert (batch["decoder_loss_weights"].sum(axis=1)[~present] == 0).all()


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
def test_a_bad_record_stops_by_file_and_line(kind, register):
    rng = random.Random(SEED)
    for raw in bad_lines(kind, 8):
        # At least one, since a mark at the start of a file is no part of a record.
        before = [line(good(rng)) for _ in range(rng.randint(1, 4))]
        task = register([*before, raw, line(good(rng))])
        with pytest.raises(DataError) as caught:
            task.source.load("train")
        where = f"{task.name}-train.jsonl line {len(before) + 1}: "
        assert where in str(caught.value)
        assert "on_bad_record='drop'" in str(caught.value)
        str(caught.value).encode()


KINDS = {
    "thumbs": (
        {"reward_kind": "thumbs"},
        ("👍", "👎🏿", "Up", " yes ", "thumbs  DOWN", True, False, 1, 0, -1, 1.0, "+1"),
        ("", " ", "maybe", "👌", 2, -2, 0.5, 10**400, None, [], {}, ["up"],
         float("nan"), float("inf"), "1.0", "11", "\x00", "ｕｐ"),
    ),
    "likert": (
        {"reward_kind": "likert", "likert_range": (1, 5)},
        (1, 5, 3, 2.5, 4.999999),
        (0, 6, 0.999999, 5.000001, -1, 10**400, None, True, False, "3", "", [], {},
         [3], float("nan"), float("inf"), -float("inf")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transform", ["none", "normalize", "sigmoid"])
def test_feedback_of_other_kinds(kind, transform, register):
    settings, fine, bad = KINDS[kind]
    rng = random.Random(f"{SEED} {kind}")
    rows = [(v, True) for v in fine] + [(v, False) for v in bad]
    rows = rows * 3
    rng.shuffle(rows)
    records = [{**good(rng), "reward": value} for value, _ in rows]
    task = register(
        records, on_bad_record="drop", reward_transform=transform, **settings
    )
    report = task.record_report()
    bad_numbers = [n for n, (_, is_fine) in enumerate(rows, start=1) if not is_fine]
    assert [r.identity.rpartition(" line ")[2] for r in report.dropped] == list(
        map(str, bad_numbers)
    )
    assert all(r.reason.startswith(("reward_", "unknown_")) for r in report.dropped)
    assert np.isfinite(task.source.rewards("train")).all()


@pytest.mark.parametrize("reward", [0, 1, -1.5, 0.1, 3e38, 1e-310])
@pytest.mark.parametrize("transform", ["none", "sigmoid", "clip(-1, 1)"])
def test_feedback_of_one_class_stays_finite(reward, transform, register):
    rng = random.Random(SEED)
    records = [{**good(rng), "reward": reward} for _ in range(7)]
    task = register(records, reward_transform=transform)
    config = DatasetConfig(task.name, LENGTHS, batch_size=4, num_epochs=1)
    rewards = []
    for batch in config.batches():
        check_batch(batch, task.vocabulary.vocab_size)
        rewards += batch["rewards"][batch["trajectory_weights"] > 0].tolist()
    assert len(rewards) == 7
    assert len(set(rewards)) == 1


@pytest.mark.parametrize("reward", [0, 1, -1.5, 0.1, 3e38, 1e-310])
def test_feedback_of_one_class_cannot_be_normalised(reward, register):
    rng = random.Random(SEED)
    records = [{**good(rng), "reward": reward} for _ in range(7)]
    task = register(records, reward_transform="normalize")
    config = DatasetConfig(task.name, LENGTHS, batch_size=4, num_epochs=1)
    with pytest.raises(DataError, match="7 rewards of the train split are all"):
        config.batches()


@pytest.mark.parametrize("kind", ["thumbs", "likert"])
def test_one_class_of_other_kinds(kind, register):
    settings, fine, _ = KINDS[kind]
    rng = random.Random(SEED)
    records = [{**good(rng), "reward": fine[0]} for _ in range(7)]
    task = register(records, **settings)
    assert set(task.source.rewards("train").tolist()) <= {-1.0, 1.0}
    task = register(records, reward_transform="normalize", **settings)
    with pytest.raises(DataError, match="7 rewards of the train split are all"):
        task.source.rewards("train")
