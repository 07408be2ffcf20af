"""A store is found where records are the same, and never where they are not."""

import gzip
import json
import os
import shutil
import sys
import time
import types

import pytest
import seqio
from sentencepiece import sentencepiece_model_pb2
from split_texts import prompts_of, responses_of

from dro_jax.data.layouts import Layout
from dro_jax.data.sources import ExpandedSource, JsonlSource
from dro_jax.data.store import file_facts
from dro_jax.data.whitespace import WhitespaceVocabulary

ROWS = [
    {"prompt": f"p  {i}", "response": "r", "reward": i % 2, "other": "o", "id": i}
    for i in range(3)
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "logs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def folder_of(path, register_source):
    """The store of a task over the file, with settings."""

    def folder_of(given=None, **settings):
        source = given or JsonlSource({"train": path})
        return register_source(source, **settings).records("train").folder

    return folder_of


def test_every_setting_of_the_format_has_a_store_of_its_own(
    folder_of, path, sentencepiece_model, tmp_path
):
    other_model = tmp_path / "other.model"
    model = seqio.SentencePieceVocabulary(sentencepiece_model)
    proto = model.sp_model
    other_model.write_bytes(proto + b"\x52\x00")  # an empty field more
    fold = sentencepiece_model_pb2.NormalizerSpec(name="nmt_nfkc_cf")
    settings = [
        {},
        {"prompt_field": "other"},
        {"response_field": "other"},
        {"reward_field": "id"},
        {"id_field": "id"},
        {"prompt_template": "{prompt}!"},
        {"response_template": "{response}!"},
        {"chat_template": {"user": "U: {content}"}},
        {"text_prompts": "user"},
        {"reward_kind": "thumbs"},
        {"reward_kind": "likert", "likert_range": (0, 5)},
        {"reward_kind": "likert", "likert_range": (0, 4)},
        {"on_bad_record": "drop"},
        {"extra_ids": 5},
        {"vocabulary": sentencepiece_model},
        {"vocabulary": sentencepiece_model, "extra_ids": 5},
        {"vocabulary": str(other_model)},
        {"vocabulary": WhitespaceVocabulary(sentencepiece_model, extra_ids=5)},
        {
            "vocabulary": WhitespaceVocabulary(
                sentencepiece_model, extra_ids=5, marks={"\n": "<extra_id_0>"}
            )
        },
        # Of seqio's, with settings that ours does not have.
        {"vocabulary": seqio.SentencePieceVocabulary(sentencepiece_model, 0, fold)},
        {
            "vocabulary": seqio.SentencePieceVocabulary(
                sentencepiece_model, use_fast_tokenizer=True
            )
        },
        {"given": JsonlSource({"train": path}, encoding="latin-1")},
        {"given": JsonlSource({"train": [path, path]})},
    ]
    folders = [folder_of(**each) for each in settings]
    assert len(set(folders)) == len(settings)
    assert [folder_of(**each) for each in settings] == folders


def test_what_records_do_not_depend_on_does_not_matter(
    folder_of, path, tmp_path, sentencepiece_model
):
    folder = folder_of()
    assert folder_of(name="another_name") == folder
    assert folder_of(reward_transform="sigmoid", prompt_truncation="right") == folder
    os.utime(path)
    assert folder_of() == folder
    moved = tmp_path / "elsewhere" / "moved.jsonl"
    moved.parent.mkdir()
    path.rename(moved)
    assert folder_of(JsonlSource({"train": moved})) == folder
    copied = shutil.copy(sentencepiece_model, tmp_path / "copied.model")
    given = JsonlSource({"train": moved})
    by_model = folder_of(given, vocabulary=sentencepiece_model)
    assert folder_of(given, vocabulary=str(copied)) == by_model


def test_identities_are_those_of_the_path_that_is_read(path, tmp_path, register_source):
    register_source(JsonlSource({"train": path})).records("train")
    moved = path.rename(tmp_path / "moved.jsonl")
    records = register_source(JsonlSource({"train": moved})).records("train")
    assert records.identity(2) == f"{moved} line 3"


def test_contents_of_the_same_size_and_time_are_told_apart(path, register_source):
    first = register_source(JsonlSource({"train": path})).records("train")
    text, status = path.read_text(), path.stat()
    path.write_text(text.replace("p  1", "q  1"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    # Written just now: its size and time are not believed.
    second = register_source(JsonlSource({"train": path})).records("train")
    assert prompts_of(first)[1] == "p  1"
    assert prompts_of(second)[1] == "q  1"


@pytest.mark.parametrize("place", ["over", "through a link"])
def test_another_old_file_of_the_same_size_and_time_is_told_apart(
    place, path, tmp_path, register_source
):
    # As archives of one fixed time leave them.
    other = tmp_path / "other.jsonl"
    other.write_text(path.read_text().replace("p  1", "q  1"))
    for file in (path, other):
        os.utime(file, ns=(10**18, 10**18))
        time.sleep(0.02)  # a system's clock of files may be that coarse
    given = tmp_path / "link.jsonl" if place == "through a link" else path
    if given != path:
        given.symlink_to(path)
    first = register_source(JsonlSource({"train": given})).records("train")
    if given != path:
        given.unlink()
        given.symlink_to(other)
    else:
        os.replace(other, path)
    second = register_source(JsonlSource({"train": given})).records("train")
    assert prompts_of(first)[1] == "p  1"
    assert prompts_of(second)[1] == "q  1"


def test_an_old_file_is_not_read_again_for_its_digest(path, monkeypatch, folder_of):
    long_ago = time.time_ns() - 10**12
    os.utime(path, ns=(long_ago, long_ago))
    folder = folder_of()
    monkeypatch.setattr(file_facts, "_read", None)
    assert folder_of() == folder
    monkeypatch.undo()
    with path.open("a") as file:
        file.write(json.dumps(ROWS[0]) + "\n")
    assert folder_of() != folder


def test_a_packed_file_has_a_store_of_its_own(path, folder_of, tmp_path):
    packed = tmp_path / "logs.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert folder_of(JsonlSource({"train": packed})) != folder_of()


USERS = """
from helper_of_mine import answer
WORD = "{word}"

def expand(fields):
    yield "one", {{**fields, "response": answer(WORD)}}

def made(times):
    return lambda fields: times > 0
"""
HELPER = """
def answer(word):
    return "{answer} " + word
"""


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    """Writes and imports two modules of a user's."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def module(word="a", answer="b"):
        (tmp_path / "module_of_mine.py").write_text(USERS.format(word=word))
        (tmp_path / "helper_of_mine.py").write_text(HELPER.format(answer=answer))
        for name in ("module_of_mine", "helper_of_mine"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        import importlib
        import linecache

        importlib.invalidate_caches()
        linecache.checkcache()
        return importlib.import_module("module_of_mine")

    return module


def test_code_of_the_users_is_known_by_its_text(users_module, path, register_source):
    def read(module, times=1):
        source = ExpandedSource(
            JsonlSource({"all": path}),
            module.expand,
            {"train": ("all", module.made(times))},
        )
        records = register_source(source).records("train")
        return records.folder, responses_of(records)[0]

    first = read(users_module())
    assert first[1] == "b a"
    assert read(users_module()) == first
    other_word = read(users_module(word="c"))
    other_helper = read(users_module(answer="d"))
    assert (other_word[1], other_helper[1]) == ("b c", "d a")
    other_value = read(users_module(), times=2)
    assert len({first[0], other_word[0], other_helper[0], other_value[0]}) == 4
    assert read(users_module()) == first


def test_code_without_a_text_serves_one_process(path, register_source):
    def expand(fields):
        yield "one", fields

    made = types.FunctionType(expand.__code__, {"__name__": "module_of_nobody"})
    layout = Layout("made", "made", {}, made)
    source = layout.source(JsonlSource({"train": path}))
    assert not register_source(source).records("train").is_shared


def test_a_source_of_the_users_own_serves_one_process(path, register_source):
    class Reversed(JsonlSource):
        def records(self, split):
            return reversed(list(super().records(split)))

    records = register_source(Reversed({"train": path})).records("train")
    assert prompts_of(records) == ["p  2", "p  1", "p  0"]
    assert not records.is_shared
