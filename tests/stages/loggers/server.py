"""A wandb server that behaves as badly as it is told to, on this machine."""

import gzip
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Server:
    """``mode``: good answers, "refuses", "hangs" (takes a connection and says nothing), "fails" (500),
    "rejects" (answers, but takes nothing: 403).
    """

    def __init__(self, mode: str = "good") -> None:
        self.mode = mode
        self.asked: list[tuple[str, bytes]] = []
        self.http = Quiet(("127.0.0.1", 0), self._handler())
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

    def code(self, command: str) -> int:
        if self.mode == "hangs":
            threading.Event().wait()
        refused = {"fails": 500, "rejects": 200 if command == "GET" else 403}
        return refused.get(self.mode, 200)

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if path != "/graphql":
            return {}
        if b"upsertBucket" in body:
            bucket = _bucket(json.loads(body)["variables"])
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if b"createRunFiles" in body:
            names = json.loads(body)["variables"]["files"]
            files = [{"name": name, "uploadUrl": f"{self.url}/put/{name}"} for name in names]
            return {"data": {"createRunFiles": {"runID": "b1", "uploadHeaders": [], "files": files}}}
        return {"data": {}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                server.asked.append((self.path, body))
                code = server.code(self.command)
                self._say(code, server.answer(self.path, body) if code == 200 else {})

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


def _bucket(asked: dict[str, Any]) -> dict[str, Any]:
    project = {"id": "p", "name": asked["project"], "entity": {"id": "e", "name": asked["entity"] or "me"}}
    plain = {"id": asked["name"], "description": "", "config": "{}", "sweepName": None, "historyLineCount": 0}
    return {**plain, "name": asked["name"], "displayName": asked["displayName"], "project": project}
