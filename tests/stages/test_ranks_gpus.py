"""Each rank has a GPU of its own, or it is told in one line that there are too few."""

from types import SimpleNamespace

import pytest
import torch

from condiff.errors import ConfigError
from condiff.stages import processes, ranks, ranks_group
from condiff.stages.ranks import check_devices, where
from condiff.stages.ranks_group import joined


def test_more_gpus_than_there_are_is_one_line(monkeypatch):
    monkeypatch.setattr(ranks, "num_gpus", lambda accelerator: 0 if accelerator == "cpu" else 1)
    for accelerator in ("gpu", "auto"):
        with pytest.raises(ConfigError, match=r"runtime.devices: must be at most 1, the number of GPUs"):
            check_devices({"devices": 2, "accelerator": accelerator})
    check_devices({"devices": 2, "accelerator": "cpu"})
    check_devices({"devices": 1, "accelerator": "gpu"})
    assert where({"devices": 2, "accelerator": "auto"}) is None


def test_more_machines_than_a_launcher_has_reached_are_one_line():
    said = r"runtime\.nodes: must be 1, the machines that this run has, got 2; start a"
    with pytest.raises(ConfigError, match=said):
        check_devices({"devices": 1, "nodes": 2, "accelerator": "cpu"})


def test_many_devices_without_a_gpu_are_said_to_be_processes_on_the_cpu(monkeypatch):
    monkeypatch.setattr(ranks, "num_gpus", lambda _: 0)
    check_devices({"devices": 2, "accelerator": "auto"})
    assert (
        where({"devices": 2, "accelerator": "auto"})
        == "devices: 2 processes on the CPU, as torch sees no GPU"
    )
    assert where({"devices": 2, "accelerator": "cpu"}) is None
    with pytest.raises(ConfigError, match="must be at most 0"):
        check_devices({"devices": 2, "accelerator": "gpu"})


def test_each_rank_has_its_gpu_and_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(processes, "_num_cores", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = processes.environment(1, 2, on_gpu=True)
    assert (found["OMP_NUM_THREADS"], found["CUDA_VISIBLE_DEVICES"]) == ("3", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert "OMP_NUM_THREADS" not in processes.environment(0, 2, on_gpu=False)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["GPU-1 of n1", "GPU-0 of n2"], None),
        (["GPU-1 of n1", "GPU-0 of n1"], r"ranks 0 and 2 of 3 have the same GPU, GPU-0 of n1; start no more"),
    ],
)
def test_more_processes_of_a_launcher_than_gpus_are_one_line(tmp_path, monkeypatch, others, said):
    """As a machine of two GPUs with three processes tells it, each of which may see one GPU only."""

    def gather(found, own):
        found[:] = [own, *others]

    nothing = {"init_process_group": lambda *_, **__: None, "destroy_process_group": lambda: None}
    monkeypatch.setattr(ranks_group, "distributed", SimpleNamespace(all_gather_object=gather, **nothing))
    gpu = SimpleNamespace(uuid="GPU-0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ranks_group.platform, "node", lambda: "n1")
    if said is None:
        with joined(0, 3, tmp_path, True, "ddp") as rank:
            assert rank.device == "cuda"
        return
    with pytest.raises(ConfigError, match=rf"^error\[2\]: runtime\.devices: {said}"):
        joined(0, 3, tmp_path, True, "ddp").__enter__()


def test_a_rank_without_a_gpu_among_others_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"a rank on \S+ sees no GPU, and the first one does"):
        ranks_group._gpu()
