"""Sources yield every record in order, and errors that name file, line or record."""

import gzip
import json

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from dro_jax.data.records import RawRecord, RecordProblem
from dro_jax.data.sources import (
    ExpandedSource,
    JsonlSource,
    SeqioSource,
    TfdsSource,
    as_record_source,
)
from dro_jax.errors import ConfigError, DataError


def test_plain_and_gzipped_files_hold_the_same_records(tmp_path):
    text = "".join(json.dumps({"n": n, "t": "né"}) + "\n" for n in range(3)).encode()
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    plain, zipped = (
        [
            record.fields
            for record in JsonlSource({"train": tmp_path / name}).records("train")
        ]
        for name in ("a.jsonl", "a.jsonl.gz")
    )
    assert plain == zipped == [{"n": n, "t": "né"} for n in range(3)]


def test_identity_is_file_and_line_over_several_files(write_jsonl):
    first = write_jsonl([{"n": 0}, b"  ", {"n": 1}], "a.jsonl")
    second = write_jsonl([{"n": 2}], "b.jsonl")
    source = JsonlSource({"train": [first, second]})
    assert [(r.identity, r.fields["n"]) for r in source.records("train")] == [
        (f"{first} line 1", 0),
        (f"{first} line 3", 1),
        (f"{second} line 1", 2),
    ]


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_records(tmp_path):
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n{"n": 2}\r\n')
    assert [r.fields for r in JsonlSource({"train": path}).records("train")] == [
        {"n": 1},
        {"n": 2},
    ]


def test_missing_file_gives_its_path_and_the_advice(tmp_path):
    source = JsonlSource({"train": tmp_path / "none.jsonl"}, advice="set SOME_FOLDER")
    with pytest.raises(DataError, match=r"none\.jsonl does not exist: set SOME_FOLDER"):
        list(source.records("train"))


def test_damaged_gzip_file_gives_the_last_good_line(tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    rows = b"".join(
        json.dumps({"n": np.random.default_rng(n).random()}).encode() + b"\n"
        for n in range(20_000)
    )
    path.write_bytes(gzip.compress(rows)[:-5000])
    with pytest.raises(
        DataError, match=r"cut\.jsonl\.gz cannot be read beyond line \d{4}"
    ):
        list(JsonlSource({"train": path}).records("train"))


def test_unknown_split_lists_those_that_exist(write_jsonl):
    source = JsonlSource({"train": write_jsonl([]), "dev": write_jsonl([])})
    with pytest.raises(DataError, match="'test' does not exist.*'train', 'dev'"):
        list(source.records("test"))


@pytest.mark.parametrize("files", [{}, {"train": []}])
def test_a_source_needs_files(files):
    with pytest.raises(ConfigError, match="at least one file for every split"):
        JsonlSource(files)


def _function_source(rows, **kwargs):
    def dataset_fn(split, shuffle_files):
        assert not shuffle_files
        return tf.data.Dataset.from_tensor_slices(rows)

    return seqio.FunctionDataSource(dataset_fn, splits=["train"], **kwargs)


def test_any_seqio_source_gives_plain_values():
    source = as_record_source(
        _function_source({"prompt": ["a", "ü"], "reward": [0.5, 1.0]}), "mine"
    )
    first, second = source.records("train")
    assert first == RawRecord("mine[train] record 0", {"prompt": "a", "reward": 0.5})
    assert second.fields == {"prompt": "ü", "reward": 1.0}
    assert type(second.fields["reward"]) is float


def test_a_seqio_source_reports_text_that_is_not_utf8():
    (record,) = SeqioSource(_function_source({"prompt": [b"\xff\xfe"]})).records(
        "train"
    )
    assert record.fields is None
    assert record.problem.reason == "invalid_utf8"
    assert "'prompt'" in record.problem.message


def test_an_error_inside_a_seqio_source_names_the_record():
    def rows():
        yield {"prompt": "fine"}
        raise KeyError("column")

    def dataset_fn(split, shuffle_files):
        return tf.data.Dataset.from_generator(
            rows, output_signature={"prompt": tf.TensorSpec([], tf.string)}
        )

    source = SeqioSource(seqio.FunctionDataSource(dataset_fn, splits=["train"]), "mine")
    with pytest.raises(DataError, match=r"mine\[train\] record 1 failed.*KeyError"):
        list(source.records("train"))


def test_a_source_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match="task 'mine': a source must be.*not str"):
        as_record_source("logs.jsonl", "mine")


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """A data set as TFDS stores it: a TFRecord file and its metadata."""
    folder = tmp_path_factory.mktemp("tfds")
    version = folder / "feedback" / "1.0.0"
    version.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"prompt": tfds.features.Text(), "reward": tf.float32}
    )
    records = [
        features.serialize_example(
            features.encode_example({"prompt": f"p{i}", "reward": i})
        )
        for i in range(4)
    ]
    with tf.io.TFRecordWriter(
        str(version / "feedback-train.tfrecord-00000-of-00001")
    ) as writer:
        for record in records:
            writer.write(record)
    tfds.folder_dataset.write_metadata(
        data_dir=version,
        features=features,
        split_infos=[
            tfds.core.SplitInfo(
                name="train",
                shard_lengths=[len(records)],
                num_bytes=sum(map(len, records)),
                filename_template=tfds.core.ShardedFileTemplate(
                    version, dataset_name="feedback", filetype_suffix="tfrecord"
                ),
            )
        ],
    )
    return str(folder)


def test_tfds_source_reads_splits_and_slices(tfds_folder):
    source = TfdsSource(
        "feedback:1.0.0",
        {"train": "train[:3]", "validation": "train[3:]"},
        tfds_data_dir=tfds_folder,
    )
    (record,) = source.records("validation")
    assert record.identity == "tfds feedback:1.0.0[validation] record 0"
    assert record.fields == {"prompt": "p3", "reward": 3.0}
    assert len(list(source.records("train"))) == 3


def test_tfds_source_without_its_data_set_is_a_data_error(tmp_path):
    source = TfdsSource("no_such_set:1.0.0", tfds_data_dir=str(tmp_path))
    with pytest.raises(DataError, match="tfds no_such_set:1.0.0: reading its splits"):
        _ = source.splits


def _numbers(fields):
    if not fields["numbers"]:
        raise RecordProblem("no_numbers", "it has no numbers")
    for number in fields["numbers"]:
        yield f"number {number}", {"number": number}


def test_expanded_source_gives_several_records_and_splits_them(write_jsonl):
    path = write_jsonl([{"numbers": [1, 2]}, b"{", {"numbers": []}, {"numbers": [3]}])
    source = ExpandedSource(
        JsonlSource({"all": path}),
        _numbers,
        {
            "odd": ("all", lambda fields: fields["number"] % 2 == 1),
            "even": ("all", lambda fields: fields["number"] % 2 == 0),
        },
    )
    assert source.splits == ("odd", "even")
    odd = list(source.records("odd"))
    assert [record.identity for record in odd] == [
        f"{path} line 1 number 1",
        f"{path} line 2",
        f"{path} line 3",
        f"{path} line 4 number 3",
    ]
    assert [record.problem and record.problem.reason for record in odd] == [
        None,
        "not_json",
        "no_numbers",
        None,
    ]
    assert [r.fields for r in source.records("even") if r.fields] == [{"number": 2}]
