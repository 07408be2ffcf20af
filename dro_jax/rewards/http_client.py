"""Many JSON requests to one server that may be slow, busy, wrong or gone."""

import dataclasses
import math
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import dro_jax
from dro_jax.errors import ConfigError, ServerError
from dro_jax.plurals import counted
from dro_jax.rewards.http_address import check_headers, check_url, shown
from dro_jax.rewards.http_request import Post, RequestFailed
from dro_jax.rewards.pacing import Clock, Pace, SystemClock, backoff

T = TypeVar("T")
# So many failures in a row that are the server's: it is gone, and asking each of the
# others as often would take hours.
_GONE = 20
_SHOWN = 5


class BadAnswer(ValueError):
    """An answer that came and cannot be used, as one of the wrong length; asked again."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A request that failed for good.

    Attributes:
      item: its place among the requests.
      reason: what was wrong the last time.
      attempts: how often it was sent.
      status: of the last answer, where it was a refusal; None where there was none.
    """

    item: int
    reason: str
    attempts: int
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.reason} (after {counted(self.attempts, 'attempt')})"


@dataclasses.dataclass(frozen=True)
class HttpClient:
    """Sends requests to one address, several at a time, again where it may help.

    Connections that fail, answers that do not come in time, are cut, are not JSON or
    are refused by who reads them, and the statuses 408, 425, 429 and 5xx are asked
    again, after min(longest, first · 2^k) seconds, the half of it at random. What the
    server asks to wait (`Retry-After`) holds for all requests. Other statuses fail at
    once; 401, 404, 405 and redirections end the whole.

    Attributes:
      url: of http or https, without a user or password.
      key_variable: the environment variable that holds a key. Only its name is kept
        and shown; the key itself is sent, and nothing else.
      key_header: in which header it is sent: as `Bearer KEY` in `Authorization`, plain
        in any other.
      headers: others, which are no secret.
      timeout_seconds: for each answer to come whole.
      attempts: how often a request is sent at most.
      first_wait_seconds, longest_wait_seconds: as above. Where the server asks to wait
        longer than the longest, the request fails.
      requests_per_minute: at most so many, those sent again counted; 0, no limit.
      concurrency: how many at a time.
    """

    url: str
    key_variable: str = ""
    key_header: str = "Authorization"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    timeout_seconds: float = 60.0
    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 120.0
    requests_per_minute: float = 0.0
    concurrency: int = 8

    def __post_init__(self):
        check_url(self.url)
        check_headers(self.headers)
        for name in ("timeout_seconds", "attempts", "concurrency"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in (
            "first_wait_seconds",
            "longest_wait_seconds",
            "requests_per_minute",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{name} must be 0 or more, got {getattr(self, name)}"
                )

    def post_all(
        self,
        bodies: Sequence[Any],
        read: Callable[[int, Any], T],
        on_answer: Callable[[int, T], None] = lambda item, value: None,
        clock: Clock | None = None,
    ) -> list[T | Failure]:
        """What was read of the answer to each body, in their order.

        Args:
          bodies: of JSON.
          read: (item, answer) to a value; raises `BadAnswer` where it cannot be used.
          on_answer: is called with (item, value) the moment it came, in the thread that
            got it, so that it can be kept before anything else happens.
          clock: the computer's, if not given.

        Raises:
          ConfigError: the key's variable is not set.
          ServerError: the server refuses all requests (a wrong key or address).
        """
        sending = _Sending(self, self._post(), read, on_answer, clock or SystemClock())
        return sending.all(bodies)

    def check_key(self) -> None:
        """Refuses a key that is not set or cannot be sent, before any work.

        Raises:
          ConfigError: it is, or cannot.
        """
        self._post()

    def _post(self) -> Post:
        # Some hosts refuse the name that urllib gives itself.
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"dro-jax/{dro_jax.__version__}",
        }
        secret = ""
        if self.key_variable:
            secret = os.environ.get(self.key_variable, "").strip()
            if not secret:
                raise ConfigError(
                    f"the key for {shown(self.url)} is looked for in the environment "
                    f"variable {self.key_variable}, which is not set: export it"
                )
            bearer = self.key_header.lower() == "authorization"
            headers[self.key_header] = f"Bearer {secret}" if bearer else secret
            if not (secret.isascii() and secret.isprintable()):
                raise ConfigError(
                    f"the key in {self.key_variable} is not one line of ASCII: export "
                    "it anew"
                )
        return Post(self.url, {**self.headers, **headers}, secret, self.timeout_seconds)


def values_of(
    results: Sequence[T | Failure],
    url: str,
    told: Callable[[int], str] = "request {}".format,
) -> list[T]:
    """The values, where all have one.

    Args:
      results: of :meth:`HttpClient.post_all`.
      url: where they were asked for.
      told: a request's place to what people call it.

    Raises:
      ServerError: some failed for good; says how many, and which and why of the first.
    """
    failures = [found for found in results if isinstance(found, Failure)]
    if failures:
        shown_ones = "; ".join(f"{told(f.item)}: {f}" for f in failures[:_SHOWN])
        more = len(failures) - _SHOWN
        raise ServerError(
            f"{len(failures)} of {counted(len(results), 'request')} to {shown(url)} "
            f"failed for good: {shown_ones}"
            + (f"; and {more} more" if more > 0 else "")
            + ". "
            "The other answers are kept: the same command asks for what is missing"
        )
    return list(results)


class _Sending:
    """The requests of one call, on their way through several threads."""

    def __init__(self, client, post: Post, read, on_answer, clock: Clock):
        self._client, self._post = client, post
        self._read, self._on_answer, self._clock = read, on_answer, clock
        self._stopped = threading.Event()
        self._pace = Pace(client.requests_per_minute, clock, self._stopped)
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._todo: queue.SimpleQueue = queue.SimpleQueue()
        self._error: BaseException | None = None

    def all(self, bodies: Sequence[Any]) -> list:
        results: list = [None] * len(bodies)
        for item in enumerate(bodies):
            self._todo.put(item)
        # Daemons: Ctrl-C ends the command without waiting for answers under way.
        threads = [
            threading.Thread(target=self._work, args=(results,), daemon=True)
            for _ in range(min(self._client.concurrency, len(bodies)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._stopped.set()
        if self._error is not None:
            raise self._error
        return results

    def _work(self, results: list) -> None:
        while not self._stopped.is_set():
            try:
                item, body = self._todo.get_nowait()
            except queue.Empty:
                return
            try:
                results[item] = self._result(item, body)
            except BaseException as error:  # noqa: BLE001, raised again in `all`
                self._error = self._error or error
                self._stopped.set()

    def _result(self, item: int, body: Any) -> Any:
        with self._lock:
            if self._in_a_row >= _GONE:
                reason = f"not sent, since {_GONE} in a row got no answer"
                return Failure(item, reason, 0)
        client = self._client
        for attempt in range(client.attempts):
            self._pace.wait_for_turn()
            if self._stopped.is_set():
                return Failure(item, "not sent, since all was stopped", attempt)
            try:
                value = self._read(item, self._post(body, self._clock.wall()))
            except BadAnswer as error:
                failed = RequestFailed(
                    f"the answer cannot be used: {error}", again=True
                )
                servers = False
            except RequestFailed as error:
                failed, servers = error, error.again
            else:
                self._on_answer(item, value)
                self._count(False)
                return value
            if failed.for_all:
                raise ServerError(f"{shown(client.url)}: {failed}")
            asked = failed.retry_after or 0.0
            if asked > client.longest_wait_seconds:
                failed = RequestFailed(f"{failed} (to wait {asked:g} s)", again=False)
            if not failed.again or attempt + 1 == client.attempts:
                break
            self._wait(attempt, asked)
        self._count(servers)
        return Failure(item, str(failed), attempt + 1, failed.status)

    def _wait(self, attempt: int, asked: float) -> None:
        client = self._client
        self._pace.pause_all(asked)
        self._pace.wait(
            max(
                asked,
                backoff(
                    attempt,
                    client.first_wait_seconds,
                    client.longest_wait_seconds,
                    self._clock.draw(),
                ),
            )
        )

    def _count(self, servers_failure: bool) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if servers_failure else 0
