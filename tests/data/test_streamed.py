"""Training pictures that stay behind their URLs: what a prepared set would give, in an order of the seed."""

import io
import pickle
import threading
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condiff.data.ahead import AHEAD, ahead
from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.fetched import Fetch, said
from condiff.data.pairs import Pairs
from condiff.data.prepare import prepare
from condiff.data.shard_cache import _ROOM, _alone, _there
from condiff.data.shard_files import ShardFiles
from condiff.data.shard_order import OPEN, ShardOrder
from condiff.data.streamed import FETCH
from condiff.errors import ConfigError, DataError
from tests.data.test_shard_files import tar
from tests.data.test_shard_urls import SECONDS, Server, serving

COUNT, EACH = 16, 3  # shards, samples of a shard


def noise(rng: np.random.Generator, mode: str, *sides: int) -> bytes:
    buffer = io.BytesIO()
    channels = (3,) if mode == "RGB" else ()
    Image.fromarray(rng.integers(0, 256, (*sides, *channels), np.uint8), mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> Path:
    folder, rng = tmp_path_factory.mktemp("tars"), np.random.default_rng(0)
    for shard in range(COUNT):
        members: dict[str, bytes] = {}
        for index in range(EACH):
            key, sides = f"{shard:02d}{index}", (16 + index, 24 - index)
            members |= {
                f"{key}.png": noise(rng, "RGB", *sides),
                f"{key}.cls": b"1",
                f"{key}.txt": b" a %d " % index,
            }
            members |= {f"{key}.control.png": noise(rng, "L", *sides)}
        tar(folder / f"x-{shard:03d}.tar", members)
    return folder


@pytest.fixture(scope="module")
def server(tars):
    with serving(tars) as server:
        yield server


@pytest.fixture(scope="module")
def limit(tars) -> int:
    """Bytes of the shards that are at hand at a time."""
    return (OPEN + 1 + AHEAD) * max(path.stat().st_size for path in tars.iterdir())


def fetch(folder: Path, limit: float, patience: float = 20.0) -> Fetch:
    return Fetch(str(folder), limit / 2**30, timeout=2 * SECONDS, patience=patience)


def source(server: Server, fetch: Fetch, **settings) -> ShardFiles:
    urls = f"{server.url}/x-{{000..{COUNT - 1:03d}}}.tar"
    return ShardFiles(urls=urls, fetch=fetch, **{"stream": "exact", "size": 16} | settings)


@pytest.fixture(scope="module")
def prepared(server, tars, limit, tmp_path_factory) -> Path:
    """``there`` is streamed, ``here`` are the same tars prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    said.cache_clear()
    prepare(source(server, fetch(folder / "cache", limit)), folder / "there")
    prepare(ShardFiles(str(tars), size=16), folder / "here")
    return folder


@pytest.fixture
def streamed(prepared, tmp_path, limit):
    return opened(prepared, fetch(tmp_path / "cache", limit))


def opened(prepared: Path, fetch: Fetch) -> ShardDataset:
    before = FETCH.set(fetch)
    try:
        return ShardDataset(prepared / "there", "train")
    finally:
        FETCH.reset(before)


def used(folder: Path) -> int:
    """Bytes, counted while nothing comes or goes."""
    with _alone(folder / _ROOM):
        return sum({about.st_ino: about.st_size for _, about in _there(folder, "*fetched*")}.values())


def order(rows) -> list[int]:
    return [index for batch in rows for _, _, index in batch]


def test_a_streamed_set_gives_what_a_prepared_one_gives(prepared, streamed):
    there, here = prepared / "there", ShardDataset(prepared / "here", "train")
    assert sorted(path.name for path in there.iterdir()) == [
        "data.json", "held_out-000000.tar", "index-held_out.jsonl", "index-train.jsonl",
    ]  # fmt: skip
    for name in ("held_out-000000.tar", "index-held_out.jsonl"):
        assert (there / name).read_bytes() == (prepared / "here" / name).read_bytes()
    assert (len(streamed), streamed.held, here.held) == (len(here), False, True)
    for one, two in zip(streamed.chunks(50), here.chunks(50), strict=True):
        assert (
            set(one) == set(two) == {"key", "image", "control", "framing", "label", "text", "step", "place"}
        )
        for name, value in one.items():
            assert torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name]
    for name in ("png", "control.png", "txt", "framing.npy"):
        assert streamed.shards.read(7, name) == here.shards.read(7, name)


@pytest.mark.parametrize("resampled", [False, True])
def test_an_order_mixes_few_shards_at_a_time(resampled):
    counts = tuple(3 + shard % 4 for shard in range(40))
    shards, num = ShardOrder(counts, resampled), sum(counts)
    of = np.repeat(np.arange(40), counts)
    found = [shards(num, 3, epoch).tolist() for epoch in range(200)]
    assert found[0] == ShardOrder(counts, resampled)(num, 3, 0).tolist()
    assert len({*map(tuple, [*found, shards(num, 4, 0)])}) == 201
    times = Counter(of[found[0]].tolist())
    if resampled:
        assert 20 < len(times) < 33  # of 40 drawn, 1 - 1/e are expected
        seen = np.bincount(np.concatenate(found), minlength=num) / 200
        assert abs(seen.mean() - 1) < 1e-12
        assert abs(seen - 1).max() < 0.35  # about Poisson: 0.07 a sample
    else:
        assert all(Counter(epoch) == Counter(range(num)) for epoch in found)
        ends = {shard: [at for at, index in enumerate(found[0]) if of[index] == shard] for shard in range(40)}
        still = [sum(places[0] <= at <= places[-1] for places in ends.values()) for at in range(num)]
        assert max(still) <= OPEN + 1
        assert np.mean([of[a] == of[b] for a, b in zip(found[0], found[0][1:], strict=False)]) < 0.25


@pytest.mark.parametrize("resampled", [False, True])
def test_an_order_is_its_definition(resampled):
    counts, seed, epoch = [2, 1, 3], 7, 4
    rng = np.random.default_rng(int.from_bytes(sha256(b"shards 7 4").digest()[:8]))
    if resampled:
        drawn = [int(3 * u) for u in [*rng.random(3), *rng.random(3)]]
        assert sum(counts[shard] for shard in drawn[:3]) < 6  # so more are drawn than there are
        num = next(num for num in range(7) if sum(counts[shard] for shard in drawn[:num]) >= 6)
        drawn = drawn[:num]
    else:
        u = rng.random(3)
        drawn = sorted(range(3), key=lambda shard: u[shard])
    rows = [(turn, sum(counts[:shard]) + i) for turn, shard in enumerate(drawn) for i in range(counts[shard])]
    places = sorted(
        (turn + OPEN * u, index) for (turn, index), u in zip(rows, rng.random(len(rows)), strict=True)
    )
    found = ShardOrder((2, 1, 3), resampled)(6, seed, epoch).tolist()
    assert found == [index for _, index in places][:6]


@pytest.mark.parametrize("name", ["exact", "resampled"])
def test_the_order_is_the_same_after_a_stop_and_on_two_processes(streamed, name):
    orders = [ShardOrder(streamed.orders[0].counts, name == "resampled")]
    whole = order(islice(Batches(streamed.sizes, 6, 1, orders=orders), 40))
    assert order(islice(Batches(streamed.sizes, 6, 1, 25, orders=orders), 15)) == whole[6 * 25 :]
    parts = [Batches(streamed.sizes, 6, 1, 0, places, orders) for places in (range(3), range(3, 6))]
    assert [index for step in range(40) for part in parts for _, _, index in part.batch(step)] == whole


def test_every_sample_comes_once_an_epoch_however_the_server_behaves_and_the_cache_stays_small(
    server, streamed, tmp_path, limit
):
    server.asked.clear()
    server.troubles |= {"x-003.tar": ["drop", "503"], "x-011.tar": ["stall"], "x-014.tar": ["drop"]}
    steps, most, keys = len(streamed), [], []
    rows = Batches(streamed.sizes, 2, seed=5, orders=streamed.orders)
    for batch in islice(loader(streamed, rows), steps):
        keys += batch["key"]
        most.append(used(tmp_path / "cache"))
    num = len(streamed)
    assert all(Counter(keys[num * k : num * (k + 1)]) == Counter(streamed.keys) for k in range(2))
    assert not any(server.troubles.values())
    assert max(most) <= limit
    assert server.asked["GET"] > COUNT + 4  # with what was tried again; the cache holds 13 of 16 shards
    assert [streamed.keys[index] for index in order(islice(rows, steps))] == keys


def _sent(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301  as a loader does


def test_a_worker_is_given_the_set_as_it_is(streamed):
    rows = Batches(streamed.sizes, 2, seed=5, orders=streamed.orders).batch(0)
    one, two = streamed.__getitems__(rows), _sent(streamed).__getitems__(rows)
    assert torch.equal(one["image"], two["image"])


@pytest.mark.slow
def test_workers_read_through_a_cache_that_is_smaller_than_the_set(streamed, tmp_path, limit):
    rows, most, keys = Batches(streamed.sizes, 2, seed=5, orders=streamed.orders), [], []
    for batch in islice(loader(streamed, rows, num_workers=2), len(streamed)):
        keys += batch["key"]
        most.append(used(tmp_path / "cache"))
    assert keys == [streamed.keys[index] for index in order(islice(rows, len(streamed)))]
    assert max(most) <= limit


def test_pairs_are_streamed_too(streamed, prepared):
    second = ShardDataset(prepared / "here", "train")
    pairs = Pairs(streamed, second)
    rows = Batches(pairs.sizes, 4, seed=5, orders=pairs.orders)
    (batch,) = islice(loader(pairs, rows), 1)
    both = [*streamed.keys, *second.keys]
    assert batch["key"] == [both[index] for _, _, index in rows.batch(0)]


def test_shards_are_fetched_ahead_and_not_too_far():
    begun = []

    class Noting:
        def held(self):
            begun.append(self)
            return nullcontext()

    found = ahead([Noting() for _ in range(20)], lambda shard: [shard], lambda: None)  # pyright: ignore[reportArgumentType]
    for number in range(1, 15):
        next(found)
        ends = time.monotonic() + 60
        while len(begun) < number + AHEAD - 1 and time.monotonic() < ends:
            time.sleep(0.001)
        assert len(begun) == number + AHEAD - 1


def test_what_is_not_being_fetched_yet_is_left_when_nobody_waits_any_more():
    going, begun, others = threading.Event(), [], threading.enumerate()

    class Slow:
        @contextmanager
        def held(self):
            begun.append(self)
            yield going.wait()

    def stop() -> None:
        raise DataError("enough")

    with pytest.raises(DataError, match="enough"):
        next(ahead([range(20)], lambda item: [Slow() for _ in item], stop))  # pyright: ignore[reportArgumentType]
    going.set()
    for thread in {*threading.enumerate()} - {*others}:
        thread.join(SECONDS * 100)
    assert len(begun) <= AHEAD


@pytest.mark.parametrize("trouble", ["stall", "500"])
def test_a_server_that_is_gone_is_told_in_time_when_its_shard_is_needed(
    server, prepared, tmp_path, limit, trouble
):
    data = opened(prepared, fetch(tmp_path, limit, patience=10 * SECONDS))
    loaded = iter(loader(data, Batches(data.sizes, 2, seed=0, orders=data.orders)))
    next(loaded)
    server.troubles |= {f"x-{shard:03d}.tar": [trouble] * 100 for shard in range(COUNT)}
    start, came = time.monotonic(), []
    with pytest.raises(
        DataError, match=r"data.urls: http://127.*tar: .* tries in data.fetch.patience"
    ) as caught:
        came += loaded
    server.troubles.clear()
    assert len(caught.value.lines) == 1
    assert time.monotonic() - start < 60


def test_a_shard_that_is_another_by_now_is_told(server, prepared, tmp_path, limit):
    server.moved = {
        f"/x-{shard:03d}.tar": f"{server.url}/x-{(shard + 1):03d}.tar" for shard in range(0, COUNT, 2)
    }
    with pytest.raises(DataError, match="has changed since it was looked at; run again"):
        opened(prepared, fetch(tmp_path, limit))
    server.moved = {}
    assert used(tmp_path) == 0


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"path": "x", "urls": None}, "data.stream: goes without data.path"),
        ({"buckets": 8}, "data.stream: goes without data.buckets"),
        ({"urls": "pipe:cat x.tar"}, "data.urls: 'pipe:cat x.tar' is not allowed"),
        ({"urls": "https://x.org/a.tar?sig=hush"}, "data.urls: https://x.org/a.tar: what follows its [?]"),
    ],
)
def test_what_cannot_be_streamed_is_told(settings, what):
    with pytest.raises(ConfigError, match=what) as caught:
        ShardFiles(**{"urls": "https://x.org/a.tar", "stream": "exact", "size": 16} | settings)
    assert "hush" not in str(caught.value)


def test_a_cache_that_cannot_hold_what_is_open_is_told(server, tmp_path, limit):
    said.cache_clear()
    with pytest.raises(DataError, match=r"data.fetch.cache_gib: must hold 13 shards while they are streamed"):
        source(server, fetch(tmp_path, 0.9 * limit)).check()
