"""wandb as a user has it, but for the world outside."""

import json
import logging
import struct
import time

import pytest
from google.protobuf.json_format import MessageToDict

from condiff.stages.loggers.logger import Outcome, Told, Training
from condiff.stages.loggers.wandb_server import Server as Known


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No login, no server known to be lost, and no settings of whoever runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.setattr(Known, "lost", "")


@pytest.fixture
def settings():
    names = ("entity", "group")
    return {
        "wandb": "auto",
        "project": "p",
        "tags": ["a"],
        "required": False,
        "artifacts": False,
    } | dict.fromkeys(names)


@pytest.fixture
def told(tmp_path):
    config = {"guidance": {"scale": 2.0}, "data": {"path": "/a"}}
    return Told("small", "study", tmp_path, config, {"data": "d1", "denoiser": "k1"}, "c0ffee")


@pytest.fixture
def training():
    return Training("denoiser", "k1", False, {"seed": 3}, {"parameters": 12})


@pytest.fixture
def outcome(tmp_path):
    metric = {"value": 3.5, "n": 20, "protocol": "p", "interval": [3.0, 4.0]}
    floor = {"value": 1.0, "n": 18, "protocol": "p", "interval": None}
    return Outcome(
        {"fd_judge": metric, "fd_floor": floor}, tmp_path / "samples.png", tmp_path / "report.html"
    )


def records(folder, kind):
    """The records of one kind in a run's own file: a log of LevelDB, of protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415  (half a second)

    (path,) = folder.glob("*.wandb")
    found, end = [], time.monotonic() + 20
    while time.monotonic() < end:  # what finishes a run does not wait for the disk
        found = [Record.FromString(content) for content in _messages(path.read_bytes())]
        if found and found[-1].WhichOneof("record_type") == "exit":
            break
        time.sleep(0.05)
    return [_plain(getattr(record, kind)) for record in found if record.WhichOneof("record_type") == kind]


def _messages(data, block=32768):
    """Each message, put together from its pieces: after 7 bytes of the file's own, blocks of pieces."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        room = block - place % block
        if room < 7:
            place += room
            continue
        _, length, part = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # all of it, or its last piece
            yield whole
            whole = b""


def _plain(message):
    """A message as plain values; what it lists by key, with JSON as values, as mappings."""
    found = MessageToDict(message, preserving_proto_field_name=True)
    for place, name in ((found, "item"), (found, "update"), (found.get("config", {}), "update")):
        if isinstance(place.get(name), list):
            place[name] = {_key(part): json.loads(part["value_json"]) for part in place[name]}
    return found


def _key(part):
    return part.get("key") or "/".join(part["nested_key"])


def run_of(folder, name):
    """The one folder in which wandb has written the runs of this id."""
    (found,) = (folder / "wandb").glob(f"*run-*-{name}")
    return found


def lines(caplog):
    """What a user was told."""
    own = [record for record in caplog.records if record.name.startswith("condiff")]
    return [record.getMessage() for record in own if record.levelno >= logging.WARNING]
