import json
import threading
import time

import pytest
from faulty_server import FAULTS, FastClock, FaultyServer

from dro_jax.errors import ConfigError, ServerError
from dro_jax.rewards.http_client import BadAnswer, Failure, HttpClient, values_of
from dro_jax.rewards.score_cache import MISSING, ScoreCache

SECRET = "sk-very-secret-0123456789"


def double(body):
    return {"n": 2 * body["n"]}


def read_number(item, answer):
    if not isinstance(answer, dict) or not isinstance(answer.get("n"), int):
        raise BadAnswer(f"no number in {answer}")
    return answer["n"]


def bodies(count):
    return [{"n": n} for n in range(count)]


def ask(server, asked, **settings):
    clock = FastClock()
    client = HttpClient(server.url, **{"timeout_seconds": 0.2} | settings)
    return client.post_all(asked, read_number, clock=clock), clock


def test_every_fault_is_survived_and_the_answers_are_exact_and_in_order():
    # Each body meets every fault before its answer, beginning with another.
    def fault(body, before):
        kinds = (*FAULTS, b'{"n": NaN}', b"[]", (503, {"Retry-After": "3"}))
        return kinds[(body["n"] + before) % len(kinds)] if before < len(kinds) else None

    with FaultyServer(double, fault) as server:
        results, clock = ask(server, bodies(12), attempts=11, concurrency=12)
    assert results == [2 * n for n in range(12)]
    assert len(server.bodies) == 12 * 11
    assert {3.0, 7.0} <= {round(seconds) for seconds in clock.waits}


def test_a_server_asks_to_wait_and_all_requests_do():
    def fault(body, before):
        return (429, {"Retry-After": "45"}) if (body["n"], before) == (0, 0) else None

    with FaultyServer(double, fault) as server:
        clock = FastClock()
        client = HttpClient(server.url, concurrency=1)
        began = clock.now()
        assert client.post_all(bodies(3), read_number, clock=clock) == [0, 2, 4]
    assert clock.now() - began == pytest.approx(45)


@pytest.mark.parametrize(
    "given, seconds",
    [
        ("2.5", 2.5),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),  # the clock's 22:13:20 and ten
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("-4", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(given, seconds):
    def fault(body, before):
        return None if before else (503, {"Retry-After": given})

    with FaultyServer(double, fault) as server:
        _, clock = ask(server, bodies(1), first_wait_seconds=0.0)
    assert sum(clock.waits) == pytest.approx(seconds)


def test_waits_double_up_to_the_longest():
    with FaultyServer(double, lambda *_: "broken") as server:
        _, clock = ask(server, bodies(1), attempts=6, longest_wait_seconds=5.0)
    assert clock.waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_what_fails_for_good_is_told_by_item_and_the_others_come():
    def fault(body, before):
        return {2: (400, {}, b"too long"), 5: "broken"}.get(body["n"])

    with FaultyServer(double, fault) as server:
        results, _ = ask(server, bodies(7), attempts=3)
    assert results[:2] + results[3:5] + results[6:] == [0, 2, 6, 8, 12]
    assert results[2] == Failure(2, "HTTP 400: too long", 1, 400)
    assert results[5] == Failure(5, "HTTP 500: a trace from deep inside", 3, 500)
    with pytest.raises(
        ServerError, match="2 of 7 requests.*request 2: HTTP 400.*reque"
    ):
        values_of(results, server.url)
    assert values_of(results[:2], server.url) == [0, 2]


def test_a_wait_that_is_too_long_fails():
    with FaultyServer(double, lambda *_: (429, {"Retry-After": "86400"})) as server:
        (result,), clock = ask(server, bodies(1))
    assert "86400 s" in result.reason and result.attempts == 1
    assert clock.waits == []


def test_a_server_that_is_gone_is_not_asked_for_everything():
    with FaultyServer(double) as server:
        pass
    results, _ = ask(server, bodies(200), attempts=2, concurrency=4)
    assert all(isinstance(result, Failure) for result in results)
    sent = [result for result in results if result.attempts]
    assert 20 <= len(sent) < 24
    assert "Connection refused" in results[0].reason
    assert "not sent" in results[-1].reason


@pytest.mark.parametrize(
    "answer",
    [
        (401, {}, f"bad key {SECRET}".encode()),
        (404, {}),
        (302, {"Location": "http://127.0.0.1:9/stolen"}),
        (307, {"Location": "http://127.0.0.1:9/stolen"}),
    ],
)
def test_what_refuses_every_request_ends_the_whole(answer, monkeypatch):
    monkeypatch.setenv("SCORER_KEY", SECRET)
    with (
        FaultyServer(double, lambda *_: answer) as server,
        pytest.raises(ServerError, match=f"HTTP {answer[0]}") as caught,
    ):
        ask(server, bodies(50), concurrency=1, key_variable="SCORER_KEY")
    assert len(server.bodies) == 1
    assert SECRET not in f"{caught.value}"


def test_a_key_is_sent_and_shown_nowhere(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SCORER_KEY", f"{SECRET}\n")
    client_settings = {"key_variable": "SCORER_KEY", "attempts": 1}

    def fault(body, before):  # a server that says all it knows
        said = json.dumps({"n": 1, "key": server.headers[-1]["Authorization"]}).encode()
        return [(400, {}, said), said][body["n"]]

    with FaultyServer(double, fault) as server, ScoreCache("s", tmp_path) as cache:
        client = HttpClient(server.url, **client_settings)
        kept = {}
        results = client.post_all(
            bodies(2),
            lambda item, answer: kept.setdefault("answer", answer)["n"],
            lambda item, value: cache.put([str(item)], kept["answer"]),
        )
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    shown = f"{client}{client._post()}{results}{capsys.readouterr()}{kept}"
    kept_on_disk = b"".join(path.read_bytes() for path in cache.folder.iterdir())
    assert SECRET not in shown and SECRET.encode() not in kept_on_disk
    assert "SCORER_KEY" in repr(client)


@pytest.mark.parametrize("sign, written", [("/", "\\/"), ('"', '\\"')])
def test_a_key_that_json_writes_otherwise_is_not_in_an_answer(
    sign, written, monkeypatch
):
    key = f"sk-very{sign}secret-0123456789"
    monkeypatch.setenv("SCORER_KEY", key)
    said = b'{"n": 1, "key": "%b"}' % key.replace(sign, written).encode()
    with FaultyServer(double, lambda *_: said) as server:
        client = HttpClient(server.url, key_variable="SCORER_KEY")
        (answer,) = client.post_all(bodies(1), lambda item, answer: answer)
    assert answer == {"n": 1, "key": "[key]"}


def test_a_key_may_have_a_header_of_its_own(monkeypatch):
    monkeypatch.setenv("SCORER_KEY", SECRET)
    with FaultyServer(double) as server:
        ask(server, bodies(1), key_variable="SCORER_KEY", key_header="X-Api-Key")
    assert server.headers[0]["X-Api-Key"] == SECRET


def test_a_key_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("SCORER_KEY", raising=False)
    client = HttpClient("http://127.0.0.1:9/", key_variable="SCORER_KEY")
    with pytest.raises(ConfigError, match="SCORER_KEY, which is not set"):
        client.post_all(bodies(1), read_number)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"url": "file:///etc/passwd"}, "not the address of a server"),
        ({"url": "https://"}, "not the address"),
        ({"url": "http://host:port/"}, "cannot be read"),
        ({"url": "http://host/a b"}, "not the address"),
        ({"headers": {"Authorization": "Bearer x"}}, "key_variable"),
        ({"headers": {"A": "b\r\nC: d"}}, "one line"),
        ({"attempts": 0}, "attempts must be above 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be"),
        ({"requests_per_minute": -1}, "0 or more"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        HttpClient(**{"url": "http://127.0.0.1:9/"} | settings)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:pass1@host/",
        "ftp://me:pass1@host/",
        "https://host/score?api_key=pass1",
        "https://host/score?version=2&Access-Token=pass1",
    ],
)
def test_a_password_or_key_in_the_address_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        HttpClient(url)
    assert "pass1" not in str(caught.value)


def test_requests_keep_to_a_rate_and_to_so_many_at_a_time():
    under_way, most = set(), []
    lock = threading.Lock()

    def answer(body):
        with lock:
            under_way.add(body["n"])
            most.append(len(under_way))
        time.sleep(0.005)
        with lock:
            under_way.remove(body["n"])
        return double(body)

    with FaultyServer(answer) as server:
        results, clock = ask(server, bodies(31), concurrency=3)
        assert results == [2 * n for n in range(31)]
        assert max(most) == 3 and clock.waits == []
        began = clock.now()
        _, clock = ask(server, bodies(31), concurrency=1, requests_per_minute=120)
    assert clock.now() - began == pytest.approx(15)  # the first is sent at once


def test_answers_are_handed_on_before_anything_else_happens(tmp_path):
    class Killed(BaseException):
        pass

    def killed_at_five(item, value):
        if len(cache) == 5:
            raise Killed
        cache.put([str(item)], value)

    with FaultyServer(double) as server:
        client = HttpClient(server.url, concurrency=1)
        cache = ScoreCache("scorer", tmp_path)
        with pytest.raises(Killed):
            client.post_all(bodies(9), read_number, killed_at_five)
        # Nobody closed it: another process reads what had come, and asks for the rest.
        again = ScoreCache("scorer", tmp_path)
        found = again.get_many([str(n)] for n in range(9))
        missing = [n for n, value in enumerate(found) if value is MISSING]
        assert missing == [5, 6, 7, 8] and found[:5] == [0, 2, 4, 6, 8]
    cache.close()


def test_a_server_that_sends_a_byte_now_and_then_is_given_up():
    with FaultyServer(double, lambda *_: "trickle") as server:
        (result,), _ = ask(server, bodies(1), attempts=2, timeout_seconds=0.1)
    assert result == Failure(0, "no whole answer within 0.1 seconds", 2)


def test_what_the_reader_does_not_expect_is_raised():
    def read(item, answer):
        raise ZeroDivisionError("a fault of ours")

    with FaultyServer(double) as server:
        with pytest.raises(ZeroDivisionError):
            HttpClient(server.url).post_all(bodies(30), read)
        assert HttpClient(server.url).post_all([], read) == []
