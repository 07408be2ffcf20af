"""All come together, or those missing are named: over real sockets, a thread a process."""

import concurrent.futures
import socket
import time

import pytest
from several_processes import free_port

from dro_jax.errors import ConfigError
from dro_jax.training.host_places import Place
from dro_jax.training.roll_call import call_roll

HERE = socket.gethostname()


def together(*places, timeout=20.0, port=None):
    """What each of the processes gets: hosts, or the message of a refusal."""
    port = port or free_port()

    def call(place):
        index, count = place
        try:
            return call_roll(Place(f"127.0.0.1:{port}", count, index), timeout)
        except ConfigError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(len(places)) as threads:
        return list(threads.map(call, places))


def test_all_learn_the_hosts_of_all():
    assert together((0, 3), (1, 3), (2, 3)) == [[HERE] * 3] * 3


def test_those_who_come_late_are_waited_for():
    port = free_port()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        late = threads.submit(together, (1, 2), port=port)  # it comes first, and asks
        time.sleep(0.5)
        first = threads.submit(together, (0, 2), port=port)
        assert first.result() == late.result() == [[HERE] * 2]


def test_those_missing_are_named_to_all():
    answers = together((0, 4), (2, 4), timeout=1)
    assert answers[0] == answers[1]
    assert answers[0].startswith("processes 1, 3 of 4 did not come within 1 s")
    assert f"here: 0 on {HERE}, 2 on {HERE}" in answers[0]


def test_a_missing_first_process_is_named():
    (answer,) = together((1, 2), timeout=1)
    assert "process 0 of 2 was not reached at 127.0.0.1:" in answer
    assert "Connection refused" in answer


def test_one_that_came_and_ended_is_missing():
    port = free_port()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = threads.submit(together, (0, 3), timeout=2, port=port)
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b'{"process": 1, "of": 3, "host": "elsewhere"}\n')
            time.sleep(0.3)
        (answer,) = first.result()
    assert "processes 1, 2 of 3 did not come" in answer
    assert "process 1 on elsewhere came and ended" in answer


def test_strangers_at_the_port_are_passed_over():
    port = free_port()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = threads.submit(together, (0, 2), port=port)
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\n\n")
            assert together((1, 2), port=port) == [[HERE] * 2]
        assert first.result() == [[HERE] * 2]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (((0, 3), (1, 3), (1, 3)), "two processes say that they are number 1 of 3"),
        (((0, 2), (1, 3)), f"process 1 on {HERE} was started as one of 3"),
    ],
)
def test_processes_that_contradict_one_another_are_refused(places, message):
    for answer in together(*places):
        assert message in answer


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        (answer,) = together((0, 2), port=other.getsockname()[1])
    assert "process 0 cannot listen at port" in answer and "in use" in answer


def test_another_program_at_the_coordinators_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(1)

        def greet():
            while True:
                with other.accept()[0] as connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            threads.submit(greet)
            (answer,) = together((1, 2), timeout=0.5, port=other.getsockname()[1])
    assert "what answers there is no process of a run" in answer
