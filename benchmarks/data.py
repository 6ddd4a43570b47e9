"""How fast examples come: ours against webdataset's pipeline and a loop over files with PIL, in one run.

    python benchmarks/data.py [--rounds 3] [--num 3000] [--size 64] [--workers 0]

The same pictures lie as PNG in class folders, as shards, and as shards behind an HTTP server on this
machine. All loops give batches of 64 float pictures in [-1, 1] with labels, in random order (webdataset's
from a buffer of 1,000). Ours prepares a set once, from files or URLs, and then reads shards of its own,
which it holds in memory up to 1 GiB, as it does cached latents (here of 8 x 8 x 8); sets that are larger are
read from the disk. What is streamed comes from the server in every epoch, as with webdataset, here through a
cache that is empty at first. Turns alternate; the table holds medians of samples a second.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import numpy as np
import torch
import webdataset
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.fetched import Fetch
from condiff.data.memo import shared
from condiff.data.npy import to_npy
from condiff.data.prepare import prepare
from condiff.data.shard_files import ShardFiles
from condiff.data.shards import ShardWriter
from condiff.data.streamed import FETCH

BATCH, CLASSES, SHARDS = 64, 10, 8
Epoch = Callable[[], int]  # how many examples came


class Files(Dataset[tuple[Tensor, int]]):
    """Pictures in class folders, as torchvision's ImageFolder finds and reads them."""

    def __init__(self, root: Path) -> None:
        classes = sorted(path.name for path in root.iterdir())
        self.found = [(path, classes.index(path.parent.name)) for path in sorted(root.rglob("*.png"))]

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.found[index]
        with path.open("rb") as file:
            return _tensor(file.read()), label


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _tensor(data: bytes) -> Tensor:
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(127.5).sub_(1)


def pictures(folder: Path, num: int, size: int) -> None:
    """``files/`` and ``shards/`` of smooth noise, which PNG packs about as well as drawings."""
    rng = np.random.default_rng(0)
    (folder / "shards").mkdir()
    for shard in range(SHARDS):
        with webdataset.TarWriter(str(folder / "shards" / f"x-{shard:03d}.tar")) as tar:  # pyright: ignore[reportPrivateImportUsage]
            for i in range(shard, num, SHARDS):
                small = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
                buffer, label = io.BytesIO(), i % CLASSES
                Image.fromarray(small).resize((size, size)).save(buffer, format="PNG")
                path = folder / "files" / f"{label}" / f"{i:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(buffer.getvalue())
                tar.write({"__key__": f"{i:06d}", "png": buffer.getvalue(), "cls": str(label).encode()})


def latents(folder: Path, num: int) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    with ShardWriter(folder, "train") as writer:
        for i in range(num):
            writer.write(f"{i:06d}", {"npy": to_npy(rng.standard_normal((8, 8, 8), np.float32)), "cls": b"0"})
    return folder


def own(folder: Path, held: int, workers: int) -> Epoch:
    """Ours, from a prepared folder."""
    data = ShardDataset(folder, "train", held)

    def epoch() -> int:
        rows = Batches(data.sizes, BATCH, 0, orders=data.orders)
        batches = islice(loader(data, rows, workers), len(data) // BATCH)
        return sum(len(batch["key"]) for batch in batches)

    return epoch


def prepared(urls: str, cache: Callable[[], str], num: int) -> Epoch:
    """Ours, with everything that is done once: fetched if it is not yet, checked, fitted and written."""

    def epoch() -> int:
        with tempfile.TemporaryDirectory() as out:
            shared.cache_clear()  # as a new process
            prepare(ShardFiles(urls=urls, fetch=Fetch(cache()), held_out=0.0), Path(out))
        return num

    return epoch


def streamed(urls: str, folder: Path, workers: int) -> Epoch:
    """Ours, from shards that come as it goes on."""
    source = ShardFiles(urls=urls, fetch=Fetch(str(folder / "first")), stream="exact", held_out=0.0)
    prepare(source, folder / "set")

    def epoch() -> int:
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            before = FETCH.set(Fetch(cache))
            found = own(folder / "set", 0, workers)()
            FETCH.reset(before)
        return found

    return epoch


def of_files(root: Path, workers: int) -> Epoch:
    rows = DataLoader(Files(root), BATCH, shuffle=True, num_workers=workers, drop_last=True)
    return partial(_counted, rows)


def of_webdataset(shards: str, workers: int) -> Epoch:
    def read(sample: dict[str, Any]) -> tuple[Tensor, int]:
        return _tensor(sample["png"]), int(sample["cls"])

    found = webdataset.WebDataset(shards, shardshuffle=SHARDS, empty_check=False)  # pyright: ignore[reportPrivateImportUsage]
    rows = webdataset.WebLoader(found.shuffle(1000).map(read), batch_size=BATCH, num_workers=workers)  # pyright: ignore[reportPrivateImportUsage]
    return partial(_counted, rows)


def _counted(rows: Any) -> int:
    return sum(len(label) for _, label in rows)


def loops(folder: Path, args: argparse.Namespace, url: str) -> dict[str, Epoch]:
    once, cache = folder / "prepared", folder / "cache"
    prepare(ShardFiles(str(folder / "shards"), held_out=0.0), once)
    names = f"x-{{000..{SHARDS - 1:03d}}}.tar"
    cache.mkdir()
    return {
        "condiff, held in memory": own(once, 2**30, args.workers),
        "condiff, from the disk": own(once, 0, args.workers),
        "webdataset, from the disk": of_webdataset(f"{folder}/shards/{names}", args.workers),
        "files and PIL": of_files(folder / "files", args.workers),
        "condiff, cached latents": own(latents(folder / "latents", args.num), 2**30, args.workers),
        "condiff, fetched and prepared": prepared(
            f"{url}/{names}", lambda: tempfile.mkdtemp(dir=cache), args.num
        ),
        "condiff, prepared from its cache": prepared(f"{url}/{names}", lambda: str(cache / "kept"), args.num),
        "condiff, streamed from HTTP": streamed(f"{url}/{names}", folder / "streamed", args.workers),
        "webdataset, from HTTP": of_webdataset(f"{url}/{names}", args.workers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num", type=int, default=3000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder, args.num, args.size)
        serve = partial(Quiet, directory=str(folder / "shards"))
        with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            found = loops(folder, args, f"http://127.0.0.1:{server.server_port}")
            for _ in range(args.rounds + 1):  # the first is to warm up
                for loop, epoch in found.items():
                    start = time.perf_counter()
                    rates.setdefault(loop, []).append(epoch() / (time.perf_counter() - start))
            server.shutdown()
    report({loop: values[1:] for loop, values in rates.items()}, args)


def report(rates: dict[str, list[float]], args: argparse.Namespace) -> None:
    print(f"\n{'loop':<32} {'samples/s':>10}")
    medians = {loop: statistics.median(values) for loop, values in rates.items()}
    for loop, rate in medians.items():
        print(f"{loop:<32} {rate:>10.0f}")
    for one, two in (
        ("condiff, from the disk", "webdataset, from the disk"),
        ("condiff, from the disk", "files and PIL"),
        ("condiff, fetched and prepared", "webdataset, from HTTP"),
        ("condiff, streamed from HTTP", "webdataset, from HTTP"),
    ):
        print(f"{one} / {two}: {_ratio(rates[one], rates[two]):.2f}")
    ratio = _ratio(rates["condiff, from the disk"], rates["webdataset, from the disk"])
    print(json.dumps({"benchmark": "data", "ratio": ratio, "samples_per_second": medians, **vars(args)}))


def _ratio(one: list[float], two: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, two, strict=True))


if __name__ == "__main__":
    main()
