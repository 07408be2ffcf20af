"""Questions to a chat server: each is answered, given up, or kept for another time."""

import collections
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dro_jax.errors import ServerError
from dro_jax.judges.chat_server import ChatServer, text_of, tokens_of
from dro_jax.messages import note
from dro_jax.plurals import counted
from dro_jax.progress_bar import ProgressBar
from dro_jax.rewards.http_address import shown
from dro_jax.rewards.http_client import BadAnswer, Failure, values_of
from dro_jax.rewards.pacing import Clock

# The request itself is refused, as for its length or its content.
_REFUSED = frozenset((400, 413, 422))
_EXCERPT = 80  # characters of an answer that are shown


class Used(NamedTuple):
    """Tokens by the server's count, answers that could not be used included."""

    input: int
    output: int


def ask_all(
    server: ChatServer,
    questions: Sequence[str],
    is_readable: Callable[[str], bool],
    keep: Callable[[int, str], Any],
    clock: Clock | None = None,
    *,
    any_kept: bool = False,
) -> Used:
    """Ask each question until its answer can be read.

    An answer that cannot be read is asked for again, `server.unreadable_attempts` times
    in all; then, and where the server refuses the question itself, it is given up with a
    note.

    Args:
      server: is asked.
      questions: the texts.
      is_readable: whether an answer is one.
      keep: is called with (place of the question, answer) at once, if it is.
      clock: the computer's, if not given.
      any_kept: whether the server has answered other questions before, so that those
        that are left may all be ones that it refuses.

    Raises:
      ServerError: other failures: what is missing can be asked for by the same command.
        Or not one question was ever taken.
    """
    asking = _Asking(server, is_readable)
    with ProgressBar("judge", len(questions), unit="answers") as bar:

        def on_answer(item: int, answer: str | None) -> None:
            if answer is not None:
                keep(item, answer)
            with asking.lock:
                bar.advance()

        results = server.client().post_all(
            [server.body(question) for question in questions],
            asking.read,
            on_answer,
            clock,
        )
    _check(server, results, any_kept)
    unreadable = [i for i, result in enumerate(results) if result is None]
    if unreadable:
        said = " ".join(asking.last[unreadable[0]].split())
        note(
            f"{counted(len(unreadable), 'answer')} of the judge gave no verdict in "
            f"{counted(server.unreadable_attempts, 'attempt')}, for example "
            f"{said[-_EXCERPT:]!r}: where it was cut, raise JUDGE_MAX_TOKENS"
        )
    return Used(*asking.tokens)


class _Asking:
    """What came so far, told by threads."""

    def __init__(self, server: ChatServer, is_readable: Callable[[str], bool]):
        self._most, self._is_readable = server.unreadable_attempts, is_readable
        self._unreadable: collections.Counter = collections.Counter()
        self.lock = threading.Lock()
        self.last: dict[int, str] = {}
        self.tokens = (0, 0)

    def read(self, item: int, answer: Any) -> str | None:
        """The text, if it can be read; None where it is given up."""
        text = text_of(answer)
        with self.lock:
            used = tokens_of(answer)
            self.tokens = (self.tokens[0] + used[0], self.tokens[1] + used[1])
            if self._is_readable(text):
                return text
            self._unreadable[item] += 1
            self.last[item] = text
            if self._unreadable[item] >= self._most:
                return None
        raise BadAnswer("it gives no verdict")


def _check(
    server: ChatServer, results: Sequence[str | None | Failure], any_kept: bool
) -> None:
    failures = [found for found in results if isinstance(found, Failure)]
    refused = [found for found in failures if _is_refused(found)]
    if len(refused) == len(results) and not any_kept:
        raise ServerError(
            f"{shown(server.endpoint())} refuses all of "
            f"{counted(len(results), 'question')}: {refused[0].reason}"
        )
    if len(failures) > len(refused):
        others = [found for found in results if not _is_refused(found)]
        values_of(others, server.endpoint())
    if refused:
        note(
            f"{counted(len(refused), 'question')} of the judge were refused by the "
            f"server and are left out: {refused[0].reason}"
        )


def _is_refused(found: str | None | Failure) -> bool:
    return isinstance(found, Failure) and found.status in _REFUSED
