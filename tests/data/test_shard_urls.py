"""Shards behind URLs: the examples of a folder, whatever the network does, or one line that says why."""

import shutil
import signal
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from condiff.data.fetched import Fetch, said
from condiff.data.memo import shared
from condiff.data.shard_cache import _ROOM, ShardCache, _alone, _there
from condiff.data.shard_files import ShardFiles
from condiff.data.shards import ShardWriter
from condiff.errors import CondiffError, ConfigError, DataError
from condiff.interrupts import STOPPING, Interrupted, Interrupts
from condiff.stages.known import STAGES
from tests.data.test_shard_files import everything, png, shards

SECONDS = 0.15  # of silence


class Server(ThreadingHTTPServer):
    """Serves a folder; ``troubles`` are what next happens to a GET of a name, ``asked`` counts requests."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked = folder, Counter()
        self.troubles: defaultdict[str, list[str]] = defaultdict(list)
        self.moved: dict[str, str] = {}
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_HEAD(self) -> None:
        self.head()

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        trouble = self.server.troubles[name].pop(0) if self.server.troubles[name] else ""
        if trouble.isdecimal():
            return self.send_error(int(trouble))
        data = self.head()
        if trouble == "stall":
            self.server.ended.wait(20 * SECONDS)
        elif trouble == "drip":
            for place in range(len(data)):
                self.wfile.write(data[place : place + 1])
                self.server.ended.wait(SECONDS / 3)
        else:
            self.wfile.write(data[: len(data) // 2] if trouble == "drop" else data)
        return None

    def head(self) -> bytes:
        self.server.asked[self.command] += 1
        if self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
            self.end_headers()
            return b""
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return b""
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", str(path.stat().st_mtime_ns))
        self.end_headers()
        return data

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> Path:
    return shards(tmp_path_factory.mktemp("tars"), count=3)


@contextmanager
def serving(folder):
    with Server(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.ended.set()
        server.shutdown()


@pytest.fixture
def server(tmp_path, tars):
    folder = tmp_path / "served"
    shutil.copytree(tars, folder)
    with serving(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def _new_process():
    said.cache_clear()
    STOPPING.clear()  # of other tests


def source(server: Server, tmp_path: Path, name: str = "x-{000..002}.tar", **settings) -> ShardFiles:
    fetch = {"cache": str(tmp_path / "cache"), "timeout": SECONDS, "patience": 5.0} | settings
    return ShardFiles(urls=f"{server.url}/{name}", fetch=Fetch(**fetch))


def fetched(tmp_path: Path) -> list[Path]:
    """Whatever has bytes in the cache."""
    return [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def lines(source: ShardFiles) -> tuple[str, ...]:
    with pytest.raises(CondiffError) as caught:
        source.check()
    return caught.value.lines


def values(source: ShardFiles) -> list[tuple]:
    return [(e.key, e.label, e.image.tobytes()) for e in everything(source)]


def test_urls_give_what_the_folder_gives_and_are_fetched_once(server, tmp_path, tars):
    here = ShardFiles(str(tars))
    for _ in range(2):
        there = source(server, tmp_path)
        assert there.fingerprint(tmp_path / "memo") == here.fingerprint()
        assert values(there) == values(here)
    assert server.asked == {"HEAD": 3, "GET": 3}


def test_stalls_drops_and_busy_servers_are_tried_again(server, tmp_path, tars):
    server.troubles |= {"x-000.tar": ["drop", "503", "drop"], "x-001.tar": ["stall", "429"]}
    assert source(server, tmp_path).fingerprint() == ShardFiles(str(tars)).fingerprint()
    assert not any(server.troubles.values())


def test_every_shard_that_is_not_there_is_told_and_none_is_asked_for_again(server, tmp_path):
    found = lines(source(server, tmp_path, "x-{001..004}.tar"))
    assert found == tuple(f"data.urls: {server.url}/x-00{i}.tar: Not Found (404)" for i in (3, 4))
    assert server.asked == {"HEAD": 4}
    server.troubles["x-000.tar"] = ["403"]
    assert "x-000.tar: Forbidden (403)" in lines(source(server, tmp_path))[0]


@pytest.mark.parametrize("trouble", ["stall", "drip", "drop", "500"])
def test_what_never_comes_is_told_in_time(server, tmp_path, trouble):
    server.troubles["x-001.tar"] = [trouble] * 100
    start = time.monotonic()
    (line,) = lines(source(server, tmp_path, patience=2.5 * SECONDS))
    assert line.startswith(f"data.urls: {server.url}/x-001.tar: ")
    assert "tries in data.fetch.patience=0.375 seconds" in line
    assert time.monotonic() - start < 2
    assert len(fetched(tmp_path)) == 2


def test_a_server_that_is_gone_or_no_tar_is_told(server, tmp_path):
    (server.folder / "x-000.tar").write_bytes(b"<html>")
    assert "x-000.tar: is no whole tar" in lines(source(server, tmp_path, "x-000.tar"))[0]
    urls = "http://127.0.0.1:9/x.tar?signature=hush"
    (line,) = lines(ShardFiles(urls=urls, fetch=Fetch(timeout=SECONDS, patience=SECONDS)))
    assert "http://127.0.0.1:9/x.tar: " in line
    assert "hush" not in line


@pytest.mark.parametrize(
    "url",
    ["pipe:touch x", "file:///etc/passwd", "ftp://x.org/a.tar", "s3://b/a.tar", "x.tar", "http:///a.tar",
     "https://me:hush@x.org/a.tar", "https://x.org/{a,b}.tar", "http://x.org/a b.tar", "simplecache::http://x.org/a"],
)  # fmt: skip
def test_only_urls_of_allowed_schemes_are_opened(url):
    with pytest.raises(ConfigError, match=r"data.urls: ") as caught:
        ShardFiles(urls=url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["pipe", "file", "ftp", "local", "memory"])
def test_no_setting_allows_what_leads_to_this_machine(scheme):
    with pytest.raises(ConfigError, match=f"data.schemes: '{scheme}' is never opened"):
        ShardFiles(urls=f"{scheme}://x/a.tar", schemes=["https", scheme])


def test_redirects_lead_to_allowed_schemes_only(server, tmp_path, tars):
    server.moved = {"/x-000.tar": f"{server.url}/x-001.tar", "/x-002.tar": "ftp://127.0.0.1/x-001.tar"}
    assert values(source(server, tmp_path, "x-000.tar")) == values(ShardFiles(str(tars / "x-001.tar")))
    assert "leads on to ftp:" in lines(source(server, tmp_path, "x-002.tar"))[0]


def test_a_small_cache_fetches_again_and_holds_no_more(server, tmp_path, tars):
    there = source(server, tmp_path, cache_gib=1.5 * (tars / "x-000.tar").stat().st_size / 2**30)
    assert values(there) == values(ShardFiles(str(tars)))
    assert server.asked["GET"] > 3
    assert len(fetched(tmp_path)) == 1


def test_what_is_read_stays_and_what_was_used_last_goes_last(tmp_path):
    (tmp_path / "z.tar").write_bytes(bytes(100))  # of somebody else
    cache = ShardCache(tmp_path, limit=20)

    def names() -> str:
        return "".join(sorted(path.stem for path in tmp_path.iterdir() if path.suffix != ".lock"))

    def use(name: str) -> None:
        with cache.held(name, lambda to: to.write_bytes(bytes(8)) and None) as path:
            assert path.is_file()

    with cache.held("a", lambda to: to.write_bytes(bytes(8)) and None):
        use("b")
        use("c")
        assert names() == "acz"
    use("c")
    use("d")
    assert names() == "cdz"


def test_an_index_beside_shards_is_believed_and_kept_to(server, tmp_path):
    for side in ("train", "held_out"):
        with ShardWriter(server.folder, side) as writer:
            writer.write(f"of-{side}", {"png": png(), "cls": b"0"})
    urls = [f"{server.url}/{side}-000000.tar" for side in ("train", "held_out")]
    there = ShardFiles(urls=urls, fetch=Fetch(str(tmp_path / "cache"), timeout=SECONDS))
    assert [example.key for example in everything(there)] == ["of-train", "of-held_out"]
    assert server.asked == {"GET": 4}
    with (server.folder / "train-000000.tar").open("r+b") as file:
        file.seek(700)
        file.write(b"x")
    shared.cache_clear()
    said.cache_clear()
    (line,) = lines(ShardFiles(urls=urls, fetch=Fetch(str(tmp_path / "other"), timeout=SECONDS)))
    assert "/train-000000.tar: has 10240 bytes and sha256 " in line
    assert "its index says" in line


def test_a_shard_that_changes_meanwhile_is_told(server, tmp_path):
    there = source(server, tmp_path, "x-000.tar")
    before = there.fingerprint(tmp_path / "memo")
    shutil.rmtree(tmp_path / "cache")
    shutil.copy(server.folder / "x-001.tar", server.folder / "x-000.tar")
    with pytest.raises(DataError, match=r"x-000.tar: has changed since it was looked at"):
        everything(there)
    said.cache_clear()
    assert source(server, tmp_path, "x-000.tar").fingerprint(tmp_path / "memo") != before


def test_object_stores_are_read_through_their_library(tmp_path, tars):
    class Store(MemoryFileSystem):
        protocol = "gs"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.replace("gs://", "memory://"))

    fsspec.register_implementation("gs", Store, clobber=True)
    Store().pipe("/bucket/x-000.tar", (tars / "x-000.tar").read_bytes())
    urls, fetch = "gs://bucket/x-{000..000}.tar", Fetch(str(tmp_path / "cache"))
    there = ShardFiles(urls=urls, schemes=["gs"], fetch=fetch)
    assert values(there) == values(ShardFiles(str(tars / "x-000.tar")))
    missing = ShardFiles(urls=urls.replace("x-", "y-"), schemes=["gs"], fetch=fetch)
    assert "gs://bucket/y-000.tar: is not to be had" in lines(missing)[0]


def test_a_run_that_is_to_stop_waits_for_no_server(server, tmp_path):
    server.troubles["x-000.tar"] = ["500"] * 100

    def arrive() -> None:
        with pytest.raises(Interrupted):
            Interrupts()._arrive(signal.SIGTERM, None)

    threading.Timer(SECONDS, arrive).start()
    start = time.monotonic()
    try:
        assert len(lines(source(server, tmp_path, "x-000.tar", patience=60.0))) == 1
    finally:
        STOPPING.clear()
    assert time.monotonic() - start < 1


def test_how_shards_are_fetched_is_in_no_key():
    (stage,) = [stage for stage in STAGES if stage.name == "data"]
    data = {"urls": "https://x.org/a.tar", "size": 8}
    configs = [{"data": {**data, "fetch": {"timeout": seconds}}} for seconds in (1, 2)]
    one, two = (stage.identity(cfg, {}, None) for cfg in configs)
    assert one == two
    assert stage.seen(configs[0])["data"]["fetch"] == {"timeout": 1}


def test_many_that_fetch_at_once_all_get_what_they_ask_for_in_a_folder_of_limited_size(tmp_path):
    caches = [ShardCache(tmp_path, limit=3) for _ in range(2)]  # of two runs
    (tmp_path / ".left.fetched.1.tmp").write_bytes(bytes(3))  # by a run that was killed
    most = []

    def fill(name: str, to: Path) -> None:
        with _alone(tmp_path / _ROOM):  # or else one that goes and one that comes are both counted
            most.append(
                sum({about.st_ino: about.st_size for _, about in _there(tmp_path, "*fetched*")}.values())
            )
        with to.open("r+b") as file:  # which has its size
            file.write(name.encode())

    def read(number: int) -> bytes:
        name = str(number % 7)
        with caches[number % 2].held(name, partial(fill, name), 1) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(read, range(150))] == [str(number % 7).encode() for number in range(150)]
    assert max(most) <= 3
    with pytest.raises(DataError, match=r"data.fetch.cache_gib: must hold a shard"):
        caches[0].held("8", partial(fill, "8"), 4).__enter__()
