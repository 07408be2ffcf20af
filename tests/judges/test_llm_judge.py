import itertools
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from chat_judges import completion, judge_of, prefers_longer, responses_in
from faulty_server import FastClock, FaultyServer

from dro_jax import messages
from dro_jax.errors import ConfigError, ServerError
from dro_jax.judges.asking_cost import Prices
from dro_jax.judges.interface import Pair
from dro_jax.rewards.score_cache import VARIABLE

SECRET = "sk-test-0123456789abcdef"
PAIRS = [Pair(f"prompt {n}", "x" * (n % 7 + 1), "y" * (n % 5 + 1)) for n in range(40)]
LONGER = np.array(
    [(np.sign(len(p.first) - len(p.second)) + 1) / 2 for p in PAIRS], np.float64
)


@pytest.fixture(autouse=True)
def scores(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "scores"))
    return tmp_path / "scores"


def test_both_orders_are_asked_and_a_bias_for_the_first_is_a_tie():
    with FaultyServer(prefers_longer) as server:
        verdicts = judge_of(server.url)(PAIRS)
    np.testing.assert_array_equal(verdicts.preferences, LONGER)
    assert verdicts.answered.all()
    asked = [responses_in(body) for body in server.bodies]
    assert sorted(asked) == sorted((b, a) for a, b in asked)
    assert all(body["temperature"] == 0 for body in server.bodies)
    assert {body["max_tokens"] for body in server.bodies} == {256}


def test_the_order_of_the_two_makes_no_difference_and_is_asked_once():
    turned = [Pair(p.prompt, p.second, p.first) for p in PAIRS]
    with FaultyServer(prefers_longer) as server:
        judge = judge_of(server.url)
        one = judge(PAIRS)
        count = len(server.bodies)
        other = judge(turned)
    np.testing.assert_array_equal(one.preferences, 1 - other.preferences)
    assert count == len(server.bodies) == 2 * len(set(PAIRS))


def test_equal_responses_are_a_tie_that_nobody_asks_for():
    with FaultyServer(prefers_longer) as server:
        verdicts = judge_of(server.url)([Pair("p", "same", "same")])
    assert verdicts.preferences.tolist() == [0.5] and verdicts.answered.all()
    assert server.bodies == []


def test_two_answers_that_differ_are_a_tie():
    def tie_or_win(body):
        first, _ = responses_in(body)
        return completion("VERDICT: TIE" if first == "a" else "VERDICT: A")

    with FaultyServer(tie_or_win) as server:
        verdicts = judge_of(server.url)([Pair("p", "a", "b")])
    assert verdicts.preferences.tolist() == [0.5]


def faults(body, before):
    """Every fault that there is, on most questions, in an order of its own."""
    number = sum(map(ord, body["messages"][0]["content"]))
    kinds = [
        "busy",
        "broken",
        "slow",
        "nonsense",
        "reset",
        "cut",
        "closed",
        json.dumps(completion("I cannot say.")).encode(),
        json.dumps({"error": "overloaded"}).encode(),
        json.dumps(completion(None)).encode(),
    ]
    if number % 11 == 0 or before >= 2:
        return None
    return kinds[(number + 3 * before) % len(kinds)]


def test_a_server_that_fails_on_purpose_loses_nothing():
    with FaultyServer(prefers_longer, faults, slow_seconds=0.3) as server:
        clock = FastClock()
        judge = judge_of(server.url, timeout_seconds=0.2)
        verdicts = judge(PAIRS, clock)
        asked = len(server.bodies)
        again = judge(PAIRS)
    assert len(server.bodies) == asked > 2 * len(set(PAIRS))
    assert 7.0 in clock.waits  # what the server asked for
    for found in (verdicts, again):
        np.testing.assert_array_equal(found.preferences, LONGER)
        assert found.answered.all()


def test_a_killed_command_asks_only_for_what_is_missing(tmp_path):
    code = f"""
import sys
sys.path[:0] = {[str(pathlib.Path(__file__).parents[1] / "helpers")]!r}
from chat_judges import judge_of
from dro_jax.judges.interface import Pair
pairs = [Pair(f"prompt {{n}}", "x" * (n % 7 + 1), "y" * (n % 5 + 1)) for n in range(40)]
judge_of(sys.argv[1], concurrency=1)(pairs)
"""
    limit = 20

    def slowly(body, before):
        return None if len(server.bodies) <= limit else "slow"

    with FaultyServer(prefers_longer, slowly, slow_seconds=60) as server:
        command = subprocess.Popen([sys.executable, "-c", code, server.url])
        while len(server.bodies) <= limit:
            assert command.poll() is None
            time.sleep(0.01)
        command.send_signal(signal.SIGKILL)
        command.wait()
        answered = [json.dumps(body) for body in server.bodies[:limit]]
        limit = 10**6
        verdicts = judge_of(server.url)(PAIRS)
        later = [json.dumps(body) for body in server.bodies[21:]]
    np.testing.assert_array_equal(verdicts.preferences, LONGER)
    assert not set(answered) & set(later)
    assert len(set(answered) | set(later)) == len(answered) + len(later)
    assert len(answered) + len(later) == 2 * len(set(PAIRS))


def test_nonsense_is_asked_for_again_a_few_times_and_then_counted(capsys):
    def answer(body):
        if "prompt 3\n" in body["messages"][0]["content"]:
            return completion("Both are fine, **who** can say")
        return prefers_longer(body)

    with FaultyServer(answer) as server:
        judge = judge_of(server.url, unreadable_attempts=2)
        verdicts = judge(PAIRS, FastClock())
        count = len(server.bodies)
        judge(PAIRS[:4], FastClock())
    assert verdicts.answered.tolist() == [n != 3 for n in range(40)]
    assert verdicts.preferences[3] == 0.5
    assert count == 2 * len(set(PAIRS)) + 2
    assert len(server.bodies) == count + 4  # what was not answered is not kept
    said = capsys.readouterr().err
    assert "no verdict on 1 of 40 pairs" in said and "**who** can say" in said


def test_a_question_that_is_refused_is_left_out(capsys):
    def fault(body, before):
        if "prompt 3\n" in body["messages"][0]["content"]:
            return 400, {}, b"the content filter"

    with FaultyServer(prefers_longer, fault) as server:
        verdicts = judge_of(server.url)(PAIRS)
        # Again, when all that is left to ask is what was refused.
        again = judge_of(server.url)(PAIRS)
    assert verdicts.answered.sum() == 39 and not verdicts.answered[3]
    np.testing.assert_array_equal(again.answered, verdicts.answered)
    said = capsys.readouterr().err
    assert said.count("2 questions") == 2 and "the content filter" in said


def test_a_server_that_takes_no_question_is_an_error():
    with (
        FaultyServer(prefers_longer, lambda *_: (400, {}, b"no max_tokens")) as server,
        pytest.raises(ServerError, match="refuses all of 2 questions.*no max_tokens"),
    ):
        judge_of(server.url)(PAIRS[:1])


def test_a_server_that_stays_broken_is_an_error_and_the_rest_is_kept():
    def fault(body, before):
        return "broken" if "prompt 3\n" in body["messages"][0]["content"] else None

    with FaultyServer(prefers_longer, fault) as server:
        judge = judge_of(server.url, attempts=3)
        with pytest.raises(ServerError, match="2 of 80 requests.*HTTP 500"):
            judge(PAIRS, FastClock())
        count = len(server.bodies)
        rest = [p for p in PAIRS if p.prompt != "prompt 3"]
        assert judge(rest).answered.all()
    assert len(server.bodies) == count


def test_the_cost_is_told_before_and_too_much_refused(capsys, scores):
    with FaultyServer(prefers_longer) as server:
        with pytest.raises(ConfigError, match=r"--gin.JUDGE_MAX_COST=") as caught:
            judge_of(server.url, Prices(10.0, 30.0, 0.5))(PAIRS)
        assert server.bodies == []
        allowed = float(str(caught.value).partition("JUDGE_MAX_COST=")[2].split(",")[0])
        judge_of(server.url, Prices(10.0, 30.0, allowed))(PAIRS)
        said = capsys.readouterr().err
        count = len(set(PAIRS)) * 2
        # By hand: 256 tokens for each answer, and the server's 100 and 10.
        assert f"{count} requests, about" in said
        assert f"at most {256 * count:,} answered" in said
        spent = count * (100 * 10 + 10 * 30) / 1e6
        assert f"{100 * count:,} tokens sent" in said and f": {spent:.2f}" in said
        judge_of(server.url, Prices(10.0, 30.0, 0.0))(PAIRS)  # kept: costs nothing


def test_what_was_spent_counts_for_the_next_time(capsys):
    with FaultyServer(prefers_longer) as server:
        # By the server's count 80 · (100 · 10 + 10 · 30) / 10⁶ = 0.104 of 0.25.
        judge = judge_of(server.url, Prices(10.0, 30.0, 0.25), max_tokens=16)
        judge(PAIRS)
        count = len(server.bodies)
        more = [Pair(f"more {p.prompt}", *p[1:]) for p in PAIRS]
        with pytest.raises(ConfigError, match="beside 0.10 spent before"):
            judge(more)
        assert len(server.bodies) == count
        judge(PAIRS)  # costs nothing


def test_a_key_that_is_not_set_is_told_before_any_work(monkeypatch):
    monkeypatch.delenv("MISSING_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="MISSING_API_KEY, which is not set"):
        judge_of("https://host/v1", key_variable="MISSING_API_KEY")
    messages.set_process(1, 2)
    try:
        judge_of("https://host/v1", key_variable="MISSING_API_KEY")
    finally:
        messages.set_process(0, 1)


def test_the_key_is_sent_and_written_nowhere(monkeypatch, tmp_path, capsys, scores):
    monkeypatch.setenv("SOME_API_KEY", SECRET)

    def fault(body, before):
        # A server that repeats what it was sent.
        said = f"{server.headers[-1]['Authorization']}".encode()
        if before == 0:
            return 500, {}, said
        if "prompt 1\n" in body["messages"][0]["content"]:
            return 400, {}, said
        text = json.dumps(completion(f"{said.decode()}\nVERDICT: A"))
        return text.encode() if "prompt 2\n" in json.dumps(body) else None

    with FaultyServer(prefers_longer, fault) as server:
        judge = judge_of(server.url, key_variable="SOME_API_KEY")
        verdicts = judge(PAIRS[:4], FastClock())
    assert {h["Authorization"] for h in server.headers} == {f"Bearer {SECRET}"}
    out = capsys.readouterr()
    shown = f"{judge!r}{judge}{judge.fingerprint}{verdicts}{out.out}{out.err}"
    assert SECRET not in shown
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"key_variable": SECRET}, "ends in API_KEY"),
        ({"key_variable": "AWS_SECRET_ACCESS_KEY"}, "ends in API_KEY"),
        ({"url": "https://host/v1?api-key=abc"}, "holds a key among its parameters"),
        ({"url": "https://me:secret@host/v1"}, "holds a user or password"),
        ({"url": "file:///etc/passwd"}, "not the address of a server"),
        ({"max_tokens": 0}, "JUDGE_MAX_TOKENS"),
        ({"unreadable_attempts": 7}, "JUDGE_ATTEMPTS = 6"),
        ({"template": "/nowhere/question.txt"}, "JUDGE_TEMPLATE.*cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_keys_not_shown(settings, message):
    settings = {"url": "https://host/v1"} | settings
    with pytest.raises(ConfigError, match=message) as caught:
        judge_of(**settings)
    assert SECRET not in str(caught.value) and "secret@" not in str(caught.value)


@pytest.mark.parametrize("price", [-1, float("nan"), None, "1"])
def test_prices_must_be_numbers(price):
    with pytest.raises(ConfigError, match="JUDGE_OUTPUT_PRICE"):
        Prices(0, price, 0)


def test_the_endpoint_is_found_by_its_base():
    for given, asked in (
        ("https://host/v1", "https://host/v1/chat/completions"),
        ("https://host/v1/", "https://host/v1/chat/completions"),
        ("https://host/d/chat/completions?v=1", "https://host/d/chat/completions?v=1"),
    ):
        assert judge_of(given).server.endpoint() == asked


def test_what_a_verdict_depends_on_is_in_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("AN_API_KEY", SECRET)
    other = tmp_path / "question.txt"
    other.write_text("{prompt}? {first} or {second}\n")
    url = "https://host/v1"
    judges = [
        judge_of(url),
        judge_of("https://other/v1"),
        judge_of(url, max_tokens=16),
        judge_of(url, temperature=None),
        judge_of(url, template=str(other)),
    ]
    for one, two in itertools.combinations(judges, 2):
        assert one.fingerprint != two.fingerprint
    # Neither prices, pace nor key.
    same = judge_of(url, Prices(0, 0, 0), concurrency=1, key_variable="AN_API_KEY")
    assert same.fingerprint == judge_of(url).fingerprint


def test_a_template_of_ones_own_is_asked(tmp_path):
    template = tmp_path / "question.txt"
    template.write_text("{prompt}? {first} {or} {second}")
    with FaultyServer(lambda body: completion("VERDICT: A")) as server:
        judge_of(server.url, template=str(template), temperature=None)(
            [Pair("which", "{second}", "b")]
        )
    asked = sorted(body["messages"][0]["content"] for body in server.bodies)
    assert asked == ["which? b {or} {second}", "which? {second} {or} b"]
    assert "temperature" not in server.bodies[0]
