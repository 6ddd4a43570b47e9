"""What each setting of a training gives: a step of cfg_latent's network with one of them changed at a time.

    python benchmarks/settings.py [--rounds 5] [--steps 20]

Trainings of a few steps take turns, on one thread and in the time that it computes (a compiled one waits for
its compiler in the first window, which is not counted). Milliseconds are medians over the turns, and so are
the ratios of a turn's time to that of the training as it stands.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from training_overhead import ours
from training_sizes import SIZES, written

from condiff.data.dataset import ShardDataset
from condiff.methods.diffusion import Diffusion
from condiff.methods.optimizers import AdamW
from condiff.stages.attention import attending
from condiff.stages.stage import Runtime
from condiff.stages.training import fit

SIZE, PLAIN = SIZES["digits"], "as it stands"


def changed(**settings: object) -> Callable[[Diffusion], None]:
    def change(method: Diffusion) -> None:
        for name, value in settings.items():
            assert hasattr(method.training_settings, name), name
            setattr(method.training_settings, name, value)

    return change


def many_kernels(method: Diffusion) -> None:
    method.optimizer = AdamW(lr=2e-3, beta2=0.99, warmup=100, flat=0.5, fused=False)


CHANGES: dict[str, Callable[[Diffusion], None]] = {
    PLAIN: lambda _: None,
    "optimizer.fused=false": many_kernels,
    "trainer.channels_last=false": changed(channels_last=False),
    "trainer.ema_decay=null": changed(ema_decay=None),
    "trainer.clip=null": changed(clip=None),
    "trainer.log_every=1": changed(log_every=1),
    "trainer.accumulate=4": changed(accumulate=4),
    "trainer.compile=whole": changed(compile="whole"),
    "runtime.attention=math": lambda _: None,
    "batches read anew from shards": lambda _: None,
}


def window(name: str, held: ShardDataset, read: ShardDataset, steps: int) -> float:
    """Seconds of its own clock that the second half of a short training takes, a step."""
    method, marks = ours(SIZE, 2, steps), dict[int, float]()
    CHANGES[name](method)
    with tempfile.TemporaryDirectory() as out, attending("math" if "attention" in name else "auto", "cpu"):
        place = Runtime(accelerator="cpu", log=lambda _, step, __: marks.update({step: time.thread_time()}))
        fit("denoiser", method, read if "read anew" in name else held, place, Path(out))
    return (marks[2 * steps] - marks[steps]) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder, held = written(SIZE)
    with folder:
        read = ShardDataset(Path(folder.name), "train", held_bytes=0)
        found = {name: list[float]() for name in CHANGES}
        for _ in range(args.rounds):
            for name, seconds in found.items():
                seconds.append(window(name, held, read, args.steps))
    rows = {}
    print(f"\n{'setting':<34} {'ms a step':>10} {'to the first':>13}")
    for name, seconds in found.items():
        ratio = statistics.median(one / plain for one, plain in zip(seconds, found[PLAIN], strict=True))
        rows[name] = {"milliseconds": 1000 * statistics.median(seconds), "ratio": ratio}
        print(f"{name:<34} {rows[name]['milliseconds']:>10.2f} {ratio:>13.3f}")
    print(json.dumps({"benchmark": "settings", "settings": rows, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
