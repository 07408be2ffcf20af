"""One POST of JSON: an answer, or why there is none and whether to ask again."""

import dataclasses
import email.utils
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_LARGEST = 64 * 1024 * 1024  # bytes of an answer
_EXCERPT = 200  # characters of one that are shown
_LEAST_SECRET = 16
# Others of the 4xx say that this very request is wrong, and would be again.
_AGAIN = frozenset((408, 425, 429))
# These say that every request will be refused.
_ALL_REFUSED = {
    401: "the server does not take the key",
    404: "the server has nothing at that address",
    405: "the server takes no POST at that address",
}


class RequestFailed(Exception):
    """A request that got no answer that can be used.

    Attributes:
      again: whether the same request may succeed later.
      for_all: whether every other request will fail likewise.
      retry_after: seconds that the server asks to wait, for all requests; None, it does
        not say.
      status: of the answer; None, there was none.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool,
        for_all: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
    ):
        super().__init__(message)
        self.again, self.for_all = again, for_all
        self.retry_after, self.status = retry_after, status


@dataclasses.dataclass(frozen=True)
class Post:
    """Where and how to send requests. Neither is shown: headers may hold a key.

    Attributes:
      url: of http or https.
      headers: of each request.
      secret: a key in them, which no error and no answer will hold.
      seconds: within which an answer must have come, whole.
    """

    url: str
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    secret: str = dataclasses.field(repr=False)
    seconds: float

    def __call__(self, body: Any, wall: float) -> Any:
        """The answer to a body, parsed.

        Args:
          body: of JSON.
          wall: seconds since 1970, for a date until which the server asks to wait.

        Raises:
          RequestFailed: there is none; says no secret.
        """
        data = json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(self.url, data, dict(self.headers))
        try:
            with _opener().open(request, timeout=self.seconds) as response:
                text = self._without_secret(_body(response, self.seconds))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error, wall) from None
        except (OSError, http.client.HTTPException) as error:
            # `from None`: what urllib raises may hold the request.
            raise self._unanswered(error) from None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise RequestFailed(
                f"the answer is not JSON: {_excerpt(text)}", again=True
            ) from None

    def _refused(self, error: urllib.error.HTTPError, wall: float) -> RequestFailed:
        status = error.code
        try:
            text = _excerpt(self._without_secret(error.read(4 * _EXCERPT), least=1))
        except (OSError, http.client.HTTPException):
            text = ""
        again = status in _AGAIN or status >= 500
        why = _ALL_REFUSED.get(status)
        if 300 <= status < 400:
            # A key must not follow to another host, and a POST would become a GET.
            why = (
                "the server redirects elsewhere: give the address that it redirects to"
            )
        return RequestFailed(
            f"HTTP {status}"
            + (f" ({why})" if why else "")
            + (f": {text}" if text else ""),
            again=again,
            for_all=why is not None,
            retry_after=_retry_after(error.headers.get("Retry-After"), wall),
            status=status,
        )

    def _unanswered(self, error: Exception) -> RequestFailed:
        if isinstance(error, urllib.error.URLError):
            error = error.reason if isinstance(error.reason, Exception) else error
        if isinstance(error, TimeoutError):
            reason = f"no whole answer within {self.seconds:g} seconds"
            return RequestFailed(reason, again=True)
        named = f"{type(error).__name__}: {error}"
        reason = self._without_secret(named.encode("utf-8", "replace"), least=1)
        untrusted = isinstance(error, ssl.SSLCertVerificationError)
        return RequestFailed(reason, again=not untrusted, for_all=untrusted)

    def _without_secret(self, data: bytes, least: int = _LEAST_SECRET) -> str:
        # Short words, as local servers take for a key, are in honest answers too.
        text = data.decode("utf-8", "replace")
        if len(self.secret) >= least:
            quoted = json.dumps(self.secret)[1:-1]
            # Within JSON; some servers write `\/` for `/` there.
            for written in (self.secret, quoted, quoted.replace("/", "\\/")):
                text = text.replace(written, "[key]")
        return text


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def _opener() -> urllib.request.OpenerDirector:
    # Proxies of the environment are used; `file:` and `ftp:` are refused with the URL.
    return urllib.request.build_opener(_NoRedirects)


def _body(response: http.client.HTTPResponse, seconds: float) -> bytes:
    """All of it: a server that sends a byte now and then is not waited for for ever."""
    end, parts, size = time.monotonic() + seconds, [], 0
    expected = response.length
    while part := response.read1(65536):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise http.client.HTTPException(f"an answer of over {_LARGEST} bytes")
        if time.monotonic() > end:
            raise TimeoutError
    # `read1` takes an early end for the end.
    if expected is not None and size < expected:
        raise http.client.HTTPException(f"an answer cut at {size} of {expected} bytes")
    return b"".join(parts)


def _retry_after(value: str | None, wall: float) -> float | None:
    """Seconds, of a header that gives seconds or a date; None where it gives neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - wall
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def _excerpt(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]} …"
