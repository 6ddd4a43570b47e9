"""A wandb server that behaves as badly as it is told to, on this machine."""

import gzip
import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = {
    "upsertBucket": {
        "bucket": {
            "id": "b1",
            "name": "run",
            "displayName": "run",
            "description": "",
            "config": "{}",
            "sweepName": None,
            "project": {"id": "p1", "name": "condiff", "entity": {"id": "e1", "name": "me"}},
            "historyLineCount": 0,
        },
        "inserted": True,
    }
}


class Server:
    """``mode``: good answers, "refuses", "hangs" (takes a connection and says nothing), "fails" (500)."""

    def __init__(self, mode: str = "good") -> None:
        self.mode = mode
        self.asked: list[tuple[str, bytes]] = []
        self.held: list[Any] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        if mode == "refuses":
            self.http.server_close()
        else:
            threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """No more connections: what is asked from now on is refused."""
        if self.mode != "refuses":
            self.http.shutdown()
            self.http.server_close()

    def sent(self, name: str) -> list[dict[str, Any]]:
        """The bodies of GraphQL requests that name an operation, and of what was streamed."""
        found = []
        for path, body in self.asked:
            if name in path or name.encode() in body[:200]:
                with suppress(ValueError):
                    found.append(json.loads(body))
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                server.asked.append((self.path, body))
                if server.mode == "hangs":
                    server.held.append(self.connection)
                    threading.Event().wait()
                if server.mode == "fails":
                    return self._say(500, {})
                data = BUCKET if b"upsertBucket" in body else {}
                return self._say(200, {"data": data} if self.path == "/graphql" else {})

            do_GET = do_PUT = do_POST

            def _say(self, code: int, answer: Any) -> None:
                said = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None: ...

        return Handler


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
