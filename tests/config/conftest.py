"""A folder of configs with every kind of choice, made of condiff's own classes."""

from pathlib import Path

import pytest

FILES = {
    "config": """
defaults:
  - schema
  - data: digits
  - conditioner: label
  - process: cosine
  - objective: v
  - network: unet
  - method: diffusion
  - optimizer: adamw
  - trainer: short
  - guidance: cfg
  - sampler: ddim
  - metrics: frechet
  - _self_
  - experiment: null
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
hydra:
  output_subdir: null
  run: {dir: "outputs/${name}/${run_id:}"}
  sweep: {dir: "outputs/${name}/${run_id:}", subdir: "${hydra.job.num}"}
""",
    "data/digits": "_target_: condiff.data.digits.Digits\nsize: 8\nheld_out_per_class: 18",
    "data/folder": "_target_: condiff.data.image_folder.ImageFolder\npath: ???",
    "conditioner/label": "_target_: condiff.conditioners.label.ClassLabel",
    "process/cosine": "_target_: condiff.diffusion.process.CosineVP",
    "process/rectified_flow": "_target_: condiff.diffusion.process.RectifiedFlow",
    "process/linear": "_target_: condiff.diffusion.process.LinearDDPM\nnum_steps: 1000",
    "objective/v": """
parameterization: {_target_: condiff.diffusion.parameterization.V}
times: {_target_: condiff.diffusion.times.Uniform}
weight: {_target_: condiff.diffusion.weights.MinSNR, gamma: 5}
""",
    "objective/eps": """
parameterization: {_target_: condiff.diffusion.parameterization.Epsilon}
times: {_target_: condiff.diffusion.times.Uniform}
weight: {_target_: condiff.diffusion.weights.Unit}
""",
    "network/unet": """
_target_: condiff.networks.unet.UNet
widths: [8, 16]
attention: [false, true]
""",
    "method/diffusion": "_target_: condiff.methods.diffusion.Diffusion\ndrop_condition: 0.1",
    "optimizer/adamw": "_target_: torch.optim.AdamW\n_partial_: true\nlr: 1e-3\nbetas: [0.9, 0.99]",
    "trainer/short": """
_target_: condiff.methods.settings.Training
steps: 10
batch_size: 4
clip: 1.0
precision: 32-true
""",
    "guidance/cfg": "_target_: condiff.diffusion.guidance.ClassifierFree\nscale: 2.0",
    "guidance/none": "_target_: condiff.diffusion.guidance.NoGuidance",
    "guidance/chain": """
_target_: condiff.diffusion.guidance.Chain
links:
  - _target_: condiff.diffusion.guidance.Interval
    low: 0.2
    high: 5.0
    inner: {_target_: condiff.diffusion.guidance.ClassifierFree, scale: 2.0}
""",
    "sampler/ddim": "_target_: condiff.diffusion.samplers.DDIM\nsteps: 10\neta: 0.0",
    "sampler/heun": "_target_: condiff.diffusion.samplers.Heun\nsteps: 10",
    "metrics/frechet": "fd_judge: {_target_: condiff.evaluation.frechet.FrechetDistance, real: train}",
    "experiment/small": """
# @package _global_
name: small
stages: [data, denoiser, samples]
num_samples: 20
""",
}


def write_config(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.strip() + "\n")
    return path


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    folder.mkdir()
    for name, text in FILES.items():
        write_config(folder, name, text)
    return folder
