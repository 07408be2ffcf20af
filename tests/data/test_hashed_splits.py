"""Splits by a hash of prompts."""

import hashlib

from split_texts import prompts_of

from dro_jax.data.hashed_splits import split_by_text
from dro_jax.data.sources import JsonlSource


def _prompt(fields):
    return fields.get("prompt")


def test_every_text_is_in_one_split_by_its_hash(write_jsonl, register_source):
    rows = [
        {"prompt": f"ask {i % 200}", "response": f"r{i}", "reward": i}
        for i in range(600)
    ]
    stored = JsonlSource({"all": write_jsonl([*rows, b"no json", {"prompt": 5}])})
    source = split_by_text(stored, _prompt, 20)
    assert source.splits == ("train", "validation")
    task = register_source(source, on_bad_record="drop")
    train, held_out = (
        list(prompts_of(task.records(split))) for split in ("train", "validation")
    )
    assert len(train) + len(held_out) == 600
    assert not set(train) & set(held_out)
    # By hand, from the digests of the texts.
    expected = {
        text
        for text in {row["prompt"] for row in rows}
        if int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % 20 == 0
    }
    assert set(held_out) == expected and 3 <= len(expected) <= 20
    for split in ("train", "validation"):
        reasons = task.record_report(split).reasons()
        assert reasons == {"not_json": 1, "wrong_type": 1}


def test_what_was_prepared_is_found_again(write_jsonl):
    stored = JsonlSource({"all": write_jsonl([{"prompt": "a"}])})
    contents = [
        split_by_text(stored, _prompt, n).parts("train").contents for n in (20, 20, 50)
    ]
    assert contents[0] is not None and contents[0] == contents[1] != contents[2]
