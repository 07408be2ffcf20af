"""The account of dropped records."""

import json

import pytest

from dro_jax.data.records import BadRecords, DroppedRecord, RecordProblem, RecordReport
from dro_jax.errors import ConfigError, DataError


def _report(num_dropped):
    return RecordReport(
        "train",
        100,
        tuple(
            DroppedRecord(f"f line {i}", "empty_response" if i else "not_json", "bad")
            for i in range(num_dropped)
        ),
    )


def test_report_counts_and_names():
    report = _report(7)
    assert report.num_kept == 93
    assert report.reasons() == {"empty_response": 6, "not_json": 1}
    assert "100 records read, 7 dropped (f line 0: bad; " in report.summary()
    assert report.summary().endswith("and 2 more)")
    assert _report(0).summary() == "split 'train': 100 records read, none dropped"


def test_report_as_json_holds_every_dropped_record():
    values = json.loads(json.dumps(_report(7).to_json()))
    assert values["num_kept"] == 93
    assert values["dropped"][6] == {
        "identity": "f line 6",
        "reason": "empty_response",
        "message": "bad",
    }


def test_error_policy_stops_with_the_remedy():
    bad = BadRecords("error", "mine")
    with pytest.raises(DataError, match="f line 3: it is odd.*'mine'.*'drop'"):
        bad.handle("f line 3", RecordProblem("odd", "it is odd"))


def test_drop_policy_goes_on():
    bad = BadRecords("drop", "mine")
    bad.handle("f line 3", RecordProblem("odd", "it is odd"))
    assert bad.dropped == [DroppedRecord("f line 3", "odd", "it is odd")]


def test_unknown_policy():
    with pytest.raises(ConfigError, match="'ignore' is unknown: use 'error'.*'drop'"):
        BadRecords("ignore", "mine")
