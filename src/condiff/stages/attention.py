"""Which of torch's implementations of attention a stage runs with."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from condiff.errors import ConfigError


@contextmanager
def attending(backend: str, accelerator: str) -> Iterator[None]:
    """Attention of everything inside by one backend where it has a kernel, else by plain matrix products.

    ``auto`` leaves the choice to torch. Raises ConfigError where the device has not the backend at all.
    """
    with nullcontext() if backend == "auto" else _by(backend, accelerator):
        yield


def _by(backend: str, accelerator: str) -> Any:
    import torch  # noqa: PLC0415  some stages need none
    from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415

    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    chosen = getattr(SDPBackend, _NAMES[backend])
    sample = torch.zeros(1, 1, 8, 64, device="cuda" if on_gpu else "cpu")
    half = sample.bfloat16() if on_gpu else sample  # the fused ones of a GPU know no float32
    try:
        with sdpa_kernel(chosen):
            torch.nn.functional.scaled_dot_product_attention(half, half, half)
    except RuntimeError as error:
        device = torch.cuda.get_device_name() if on_gpu else "a CPU"
        raise ConfigError(
            f"runtime.attention: {backend} is not to be had on {device} with torch {torch.__version__}"
            f" ({str(error).splitlines()[0]}); use auto or math"
        ) from error
    return sdpa_kernel([chosen, SDPBackend.MATH])  # the last for what the other has no kernel for


_NAMES = {
    "math": "MATH",
    "flash": "FLASH_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
}
