"""A model of the hub: from its local cache, downloaded where it was asked for by name, and never a hang."""

import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch
from autoencoders.models import saved

from condiff import hub
from condiff.autoencoders.pretrained import Pretrained
from condiff.autoencoders.published import fetched, found

NAME, REVISION = "some-one/a.model", "0" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "hub"


@pytest.fixture
def endpoint(monkeypatch):
    """Where the hub is looked for."""
    template = "/{repo_id}/resolve/{revision}/{filename}"

    def put(url):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)

    return put


def kept(cache):
    """The folder of a revision in the local cache."""
    model = cache / "models--some-one--a.model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(REVISION)
    (model / "snapshots" / REVISION).mkdir(parents=True)
    return model / "snapshots" / REVISION


def refused(look, name=NAME) -> str:
    with pytest.raises(ValueError, match=r".") as told:
        look(name)
    said = str(told.value)
    assert "\n" not in said
    return said


class Hub(BaseHTTPRequestHandler):
    """The answers of the hub that a download asks for, out of a folder; ``asked`` are the files."""

    folder, asked = None, []

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def answer(self, with_body):
        path = self.path.partition("?")[0]
        files = sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())
        if path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": name} for name in files]
            body = json.dumps({"id": NAME, "sha": REVISION, "siblings": siblings}).encode()
            if "/tree/" in path:
                sizes = {name: (self.folder / name).stat().st_size for name in files}
                entries = [
                    {"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()
                ]
                body = json.dumps(entries).encode()
        else:
            name = path.partition("/resolve/")[2].partition("/")[2]
            body = (self.folder / name).read_bytes()
            self.asked.append(name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{path.rpartition("/")[2]}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, endpoint):
    """A hub with a pipeline, and the list of the files that are fetched of it."""
    folder = tmp_path / "served"
    saved(folder / "vae").save_pretrained(folder / "vae", safe_serialization=False)
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"large")
    (folder / "unet").mkdir()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"large")
    (folder / "model_index.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"large")
    handler = type("Served", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint(f"http://127.0.0.1:{server.server_port}")
    yield handler.asked
    server.shutdown()
    server.server_close()


def test_what_lies_in_the_local_cache_is_taken_without_asking_the_hub(cache, endpoint):
    endpoint("http://127.0.0.1:9")
    own = saved(kept(cache) / "vae")
    for model in (found(NAME), fetched(NAME)):
        assert model.files == [
            kept_path / name
            for kept_path in [cache / "models--some-one--a.model" / "snapshots" / REVISION / "vae"]
            for name in ("config.json", "diffusion_pytorch_model.safetensors")
        ]
    ours = Pretrained(3, NAME)
    ours.fill("autoencoder.network")
    assert torch.equal(ours.last, own.decoder.conv_out.weight)


def test_only_what_it_is_made_of_is_downloaded_and_found_again(served, cache):
    assert f"{NAME} is no folder, and not in the hub's local cache either" in refused(found)
    assert served == []
    model = fetched(NAME)
    assert {*served} == {"vae/config.json", "vae/diffusion_pytorch_model.safetensors"}
    assert cache in model.folder.parents
    served.clear()
    assert fetched(NAME) == found(NAME) == model
    assert served == []


def test_what_was_fetched_in_part_is_completed(served, cache):
    fetched(NAME)
    (found(NAME).folder / "diffusion_pytorch_model.safetensors").unlink()
    assert "not in the hub's local cache" in refused(found)
    assert len(fetched(NAME).weights) == 1


def test_a_model_of_pickled_weights_is_refused_before_it_is_fetched(served, tmp_path):
    for file in (tmp_path / "served").rglob("*.safetensors"):
        file.unlink()
    assert "has its weights in diffusion_pytorch_model.bin, which can hold code" in refused(fetched)
    assert served == []


def test_a_hub_that_is_not_there_is_told_at_once(endpoint):
    endpoint("http://127.0.0.1:9")
    start = time.monotonic()
    said = refused(fetched)
    assert time.monotonic() - start < 5
    assert said.startswith(f"{NAME} is no folder, not in the hub's local cache (")
    assert said.endswith(
        "copy the model to this machine and give its folder, or try again with the hub in reach"
    )


def test_a_hub_that_does_not_answer_is_given_up(endpoint, monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert "cannot be downloaded (" in refused(fetched)
        assert time.monotonic() - start < 5


def test_a_folder_goes_before_the_hub(tmp_path, monkeypatch, cache, endpoint):
    endpoint("http://127.0.0.1:9")
    saved(kept(cache), seed=1)
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / NAME)
    assert not found(NAME).folder.is_absolute()
    shutil.rmtree(tmp_path / NAME)
    assert found(NAME).folder.is_absolute()


@pytest.mark.parametrize("name", ["vae", "./some-one/a.model", "/some/where", "a/b/c", "a b/c", "~/x"])
def test_what_is_no_name_of_the_hub_is_never_asked_for(name, endpoint):
    endpoint("http://127.0.0.1:9")
    assert refused(fetched, name).startswith(f"{name} is no folder; give a folder")
