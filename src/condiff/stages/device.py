"""Where tensors live on this machine."""

import torch

from condiff.errors import ConfigError
from condiff.stages.stage import Runtime


def device(runtime: Runtime) -> torch.device:
    """The device of ``runtime.accelerator``: auto takes a GPU where there is one."""
    if runtime.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("runtime.accelerator: is gpu, and torch sees none here; use auto or cpu")
    return torch.device("cuda" if runtime.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
