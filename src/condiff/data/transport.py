"""How the bytes behind a URL are reached: HTTP by the standard library, object stores by fsspec.

What goes wrong is ``Hopeless``, or ``Passing`` where another try may find it otherwise.
"""

import http.client
import importlib
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

_BUSY = (408, 425, 429)  # of the codes below 500, those that a server takes back by itself
_NO_HEAD = (403, 405, 501)  # of servers, or of signatures, that know GET alone
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified")  # as stores call them


class Hopeless(Exception):
    """What is wrong, and stays so."""


class Passing(Exception):
    """What was wrong this time."""


@dataclass(frozen=True)
class About:
    """A file as its server describes it: equal for as long as it has not changed, by all that is told."""

    size: int | None  # bytes
    version: str | None  # a tag or a date


@dataclass(frozen=True)
class Answer:
    about: About
    read: Callable[[int], bytes]  # at most so many bytes, as soon as there are some; none at the end


class Transport(ABC):
    """Opens URLs of some schemes; a silence of ``timeout`` seconds is ``Passing``."""

    def __init__(self, timeout: float, schemes: tuple[str, ...]) -> None:
        self.timeout, self.schemes = timeout, schemes

    @abstractmethod
    def about(self, url: str) -> About: ...

    @abstractmethod
    def opened(self, url: str) -> Any:
        """A context with the Answer."""


class Http(Transport):
    """Also follows redirects, to schemes that are allowed."""

    def about(self, url: str) -> About:
        try:
            return self._about(url, "HEAD")
        except _NotByHead:
            return self._about(url, "GET")

    @contextmanager
    def opened(self, url: str) -> Iterator[Answer]:
        with self._response(url, "GET") as response:
            yield Answer(_described(response), lambda most: _told(lambda: response.read1(most)))

    def _about(self, url: str, method: str) -> About:
        with self._response(url, method) as response:
            return _described(response)

    def _response(self, url: str, method: str) -> Any:
        request = Request(url, method=method, headers={"Accept-Encoding": "identity"})
        opener = build_opener(_Redirects(self.schemes))
        return _told(lambda: opener.open(request, timeout=self.timeout), method == "HEAD")


class Store(Transport):
    """By whichever library fsspec knows for the scheme; its own timeouts hold."""

    def about(self, url: str) -> About:
        return _told(lambda: _listed(*self._system(url)))

    @contextmanager
    def opened(self, url: str) -> Iterator[Answer]:
        system, path = self._system(url)
        about = _told(lambda: _listed(system, path))
        with _told(lambda: system.open(path, "rb")) as file:
            yield Answer(about, lambda most: _told(lambda: file.read(most)))

    def _system(self, url: str) -> tuple[Any, str]:
        try:
            return importlib.import_module("fsspec.core").url_to_fs(url)
        except ImportError as error:
            raise Hopeless(f"needs a library that is not installed ({error})") from error


TRANSPORTS: dict[str, type[Transport]] = {
    **dict.fromkeys(("https", "http"), Http),
    **dict.fromkeys(("s3", "gs", "az", "abfs", "hf"), Store),
}


class _NotByHead(Exception):
    """A server that does not answer HEAD."""


class _Redirects(HTTPRedirectHandler):
    def __init__(self, schemes: tuple[str, ...]) -> None:
        self.schemes = schemes

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in self.schemes:
            raise Hopeless(f"leads on to {scheme}:, and data.schemes allows {', '.join(self.schemes)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _told(work: Callable[[], Any], by_head: bool = False) -> Any:
    """What ``work`` gives, whatever goes wrong sorted by whether it passes."""
    try:
        return work()
    except HTTPError as error:
        error.close()
        if by_head and error.code in _NO_HEAD:
            raise _NotByHead from error
        raise _refusal(error.code) from error
    except (FileNotFoundError, PermissionError) as error:
        raise Hopeless(f"is not to be had ({error})") from error
    except TimeoutError as error:
        raise Passing("the server is silent") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _of_network(error) from error


def _refusal(code: int) -> Exception:
    said = f"{http.client.responses.get(code, 'no known code')} ({code})"
    return Passing(said) if code >= 500 or code in _BUSY else Hopeless(said)


def _of_network(error: Exception) -> Exception:
    reason = error.reason if isinstance(error, URLError) else error
    said = str(reason) or type(reason).__name__
    if isinstance(reason, TimeoutError):
        return Passing("the server is silent")
    unknown = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
    lasting = (ValueError, ssl.SSLCertVerificationError, http.client.InvalidURL)
    return Hopeless(said) if unknown or isinstance(reason, lasting) else Passing(said)


def _described(response: Any) -> About:
    size = response.headers.get("Content-Length", "")
    version = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return About(int(size) if size.isdecimal() else None, version)


def _listed(system: Any, path: str) -> About:
    info = system.info(path)
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), None)
    return About(info.get("size"), version)
