"""A real HTTP server on this computer that fails on purpose."""

import collections
import http.server
import json
import socket
import struct
import threading
import time

# What a request may meet instead of its answer.
FAULTS = ("busy", "broken", "slow", "nonsense", "reset", "cut", "closed")


class FaultyServer:
    """Answers POSTs of JSON by a function, some of them after faults.

    Args:
      answer: body to the value that is sent as JSON.
      fault: (body, how often it came before) to what it meets: a name of `FAULTS`, a
        status with headers, other bytes to send for JSON; or None, the answer.
      slow_seconds: how long `slow` takes.

    Attributes:
      url: where it listens.
      bodies: of all requests, as they came.
      headers: likewise.
    """

    def __init__(self, answer, fault=lambda body, before: None, slow_seconds=2.0):
        self.bodies, self.headers = [], []
        came = collections.Counter()
        lock = threading.Lock()
        done = self._done = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):
                data = handler.rfile.read(int(handler.headers["Content-Length"]))
                body = json.loads(data)
                with lock:
                    before = came[data]
                    came[data] += 1
                    self.bodies.append(body)
                    self.headers.append(dict(handler.headers))
                meets = fault(body, before)
                if isinstance(meets, tuple):
                    handler.say(*meets)
                elif isinstance(meets, bytes):
                    handler.say(200, {}, meets)
                elif meets is None:
                    handler.say(200, {}, json.dumps(answer(body)).encode())
                else:
                    getattr(handler, meets)()

            def say(handler, status, headers, data=b"", length=None):
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                handler.send_header(
                    "Content-Length", len(data) if length is None else length
                )
                handler.end_headers()
                handler.wfile.write(data)

            def busy(handler):
                handler.say(429, {"Retry-After": "7"}, b"too many requests")

            def broken(handler):
                handler.say(500, {}, b"a trace from deep inside")

            def slow(handler):
                done.wait(slow_seconds)

            def trickle(handler):
                handler.say(200, {}, length=1000)
                while not done.wait(0.03):
                    handler.wfile.write(b" ")

            def nonsense(handler):
                handler.say(200, {}, b'{"scores": [0.1, ')

            def cut(handler):
                handler.say(200, {}, b'{"scores": [1]}'[:9], length=400)

            def closed(handler):
                pass

            def reset(handler):
                # Closing at once with data unread sends RST.
                linger = struct.pack("ii", 1, 0)
                handler.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                handler.connection.close()

            def log_message(handler, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(server, *_):
                pass  # the client has left, or `reset` closed the connection

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/score"

    def __enter__(self):
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FastClock:
    """Time that passes at once when somebody waits; it keeps what was waited for."""

    def __init__(self):
        self._lock = threading.Lock()
        self._now = 1000.0
        self.waits = []

    def now(self):
        return self._now

    def wall(self):
        return 1_700_000_000.0

    def draw(self):
        return 1.0

    def wait(self, seconds, stopped):
        with self._lock:
            self.waits.append(seconds)
            self._now += seconds
        time.sleep(0)  # lets other threads run
