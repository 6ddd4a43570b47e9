"""A training on shards that come as it goes: what they do costs time and nothing else."""

import signal
import threading
import time
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from condiff.data.batches import Batches
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.fetched import Fetch, said
from condiff.data.prepare import members, prepare
from condiff.data.shard_files import ShardFiles
from condiff.data.shards import ShardWriter
from condiff.data.streamed import FETCH
from condiff.errors import DataError
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages.stage import Runtime
from condiff.stages.training import fit
from tests.data.test_shard_urls import SECONDS, serving
from tests.stages import small

STEPS, BATCH = 12, 8


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for split, num in (("train", 160), ("held_out", 8)):
        with ShardWriter(folder, split, shard_bytes=16_000) as writer:
            for example in islice(Digits(size=8).examples(split), num):
                writer.write(example.key, members(example))
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def prepared(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    said.cache_clear()
    count = len([*server.folder.glob("train-*.tar")])
    urls = [f"{server.url}/train-{{000000..{count - 1:06d}}}.tar", f"{server.url}/held_out-000000.tar"]
    prepare(ShardFiles(urls=urls, fetch=Fetch(str(folder / "cache")), stream="exact"), folder / "data")
    return folder / "data"


def data_of(prepared, cache, patience):
    before = FETCH.set(Fetch(str(cache), timeout=2 * SECONDS, patience=patience))
    try:
        return ShardDataset(prepared, "train")
    finally:
        FETCH.reset(before)


def trained(data, out, interrupts=None):
    out.mkdir(exist_ok=True)
    place = Runtime(accelerator="cpu", checkpoint_seconds=1e9, interrupts=interrupts or Interrupts())
    fit("denoiser", small.method(STEPS, BATCH), data, place, out)
    return load_file(out / "weights.safetensors")


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return trained(data_of(prepared, folder / "cache", 20.0), folder / "run")


@pytest.fixture
def late(server, prepared, tmp_path):
    """A shard that is first needed in the middle of the training, and how many steps are taken without it.

    The batch of a step is asked for before the step before it is taken.
    """
    data = data_of(prepared, tmp_path / "late", 20.0)
    rows = Batches(data.sizes, BATCH, 0, orders=data.orders)
    first: dict[str, int] = {}
    for step in range(STEPS):
        for shard in data.needs(rows.batch(step)):
            first.setdefault(shard.path.name or shard.name, step)
    name, step = next(item for item in first.items() if 3 <= item[1] < STEPS)
    yield name.rpartition("/")[2], step - 1
    server.troubles.clear()


def test_a_dead_server_loses_no_step_and_the_same_command_goes_on(server, prepared, whole, late, tmp_path):
    name, step = late
    server.troubles[name] = ["500"] * 1000
    start = time.monotonic()
    with pytest.raises(DataError, match=rf"{name}: .* tries in data.fetch.patience"):
        trained(data_of(prepared, tmp_path / "cache", 10 * SECONDS), tmp_path / "run")
    assert time.monotonic() - start < 60
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert saved.name == f"step={step:08d}.safetensors"
    server.troubles.clear()
    found = trained(data_of(prepared, tmp_path / "cache", 20.0), tmp_path / "run")
    assert all(torch.equal(found[key], value) for key, value in whole.items())


def test_a_training_that_waits_for_a_shard_can_be_stopped(server, prepared, late, tmp_path):
    name, step = late
    server.troubles[name] = ["stall"] * 1000
    interrupts = Interrupts()

    def arrive() -> None:
        while (
            not (tmp_path / "run" / "log.jsonl").is_file()
            or f'"step": {step}' not in (tmp_path / "run" / "log.jsonl").read_text()
        ):
            time.sleep(0.05)
        time.sleep(2 * SECONDS)
        interrupts._arrive(signal.SIGTERM, None)

    threading.Thread(target=arrive, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        trained(data_of(prepared, tmp_path / "cache", 300.0), tmp_path / "run", interrupts)
    assert time.monotonic() - start < 150
    assert (tmp_path / "run" / "checkpoints" / f"step={step:08d}.safetensors").is_file()
