import pytest
from faulty_server import FAULTS, FaultyServer

from dro_jax.errors import ConfigError, ServerError
from dro_jax.rewards import CachedReward, HttpClient, HttpScorer

PROMPTS = [f"p{n}" for n in range(11)]
RESPONSES = [f"say {n} of 11" for n in range(11)]


def answer(body):
    return {
        "scores": [
            {"score": number(item) / 7, "parts": {"half": number(item) / 14}}
            for item in body["items"]
        ]
    }


def number(item):
    assert item["prompt"] == f"p{item['response'].split()[1]}"
    return int(item["response"].split()[1])


def scorer(server, **settings):
    # The waits of a real clock, but short ones.
    client = HttpClient(
        server.url,
        timeout_seconds=0.2,
        first_wait_seconds=0.001,
        concurrency=4,
        **settings,
    )
    return HttpScorer(client, batch_size=3)


def test_scores_come_in_order_with_their_parts():
    with FaultyServer(answer) as server:
        found = scorer(server)(PROMPTS, RESPONSES)
        assert scorer(server)([], []).total.shape == (0,)
    assert found.total.tolist() == [n / 7 for n in range(11)]
    assert found.parts["half"].tolist() == [n / 14 for n in range(11)]
    assert sorted(len(body["items"]) for body in server.bodies) == [2, 3, 3, 3]


def test_plain_numbers_are_scores_too():
    with FaultyServer(lambda body: {"scores": [1] * len(body["items"])}) as server:
        found = scorer(server)(PROMPTS, RESPONSES)
    assert found.total.tolist() == [1.0] * 11 and not found.parts


BAD = [
    b'{"scores": [1, 2]}',
    b'{"scores": [1, 2, NaN]}',
    b'{"scores": [1, 2, Infinity]}',
    b'{"scores": [1, 2, "3"]}',
    b'{"scores": [1, 2, true]}',
    b'{"scores": [1, 2, null]}',
    b'{"scores": [1, 2, 1' + b"0" * 400 + b"]}",
    b'{"scores": [1, 2, {"score": 1, "parts": [1]}]}',
    b'{"scores": [1, 2, {"score": 1, "parts": {"a": null}}]}',
    b'{"scores": [1, 2, {"score": 1, "parts": {"a": 1}}]}',
    b'{"score": [1, 2, 3]}',
    b"[1, 2, 3]",
]


def test_every_bad_answer_is_asked_for_again_and_the_end_is_exact(tmp_path):
    kinds = [*BAD, *(kind for kind in FAULTS if kind not in ("busy", "slow"))]

    def fault(body, before):
        first = number(body["items"][0])
        return kinds[(first + before) % len(kinds)] if before < len(kinds) else None

    with FaultyServer(answer, fault) as server:
        dear = scorer(server, attempts=len(kinds) + 1, longest_wait_seconds=0.002)
        found = CachedReward(dear, tmp_path)(PROMPTS[:9], RESPONSES[:9])
    assert found.total.tolist() == [n / 7 for n in range(9)]
    assert len(server.bodies) == 3 * (len(kinds) + 1)


def test_what_fails_is_told_the_rest_is_kept_and_a_rerun_asks_for_it_alone(tmp_path):
    broken = True

    def fault(body, before):
        return BAD[0] if broken and number(body["items"][0]) == 3 else None

    with FaultyServer(answer, fault) as server:
        cached = CachedReward(scorer(server, attempts=2), tmp_path)
        with pytest.raises(
            ServerError,
            match="1 of 4 requests.*response 3 to 5: .*2 scores for 3 responses",
        ):
            cached(PROMPTS, RESPONSES)
        broken = False
        asked = len(server.bodies)
        found = cached(PROMPTS, RESPONSES)
    assert found.total.tolist() == [n / 7 for n in range(11)]
    assert [len(body["items"]) for body in server.bodies[asked:]] == [3]


def test_version_and_address_are_the_fingerprint():
    client = HttpClient("http://127.0.0.1:9/")
    made = [
        HttpScorer(client),
        HttpScorer(client, version="2"),
        HttpScorer(HttpClient("http://127.0.0.1:8/")),
    ]
    assert len({reward.fingerprint for reward in made}) == 3
    assert HttpScorer(client, batch_size=3).fingerprint == made[0].fingerprint
    with pytest.raises(ConfigError, match="1 or more"):
        HttpScorer(client, batch_size=0)
