"""Training of a classifier of noisy images, for guidance by its gradient."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from condiff.autoencoders.space import LatentSpace
from condiff.diffusion.process import Process
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import Uniform
from condiff.methods.method import Method, clean
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.classifier import ImageClassifier
from condiff.ranges import Probability, checked


class NoisyClassifier(Method):
    """Cross-entropy on x_t of the denoiser's own process, t uniform (Dhariwal & Nichol 2021, sec. 4)."""

    @checked
    def __init__(
        self,
        classifier: ImageClassifier,
        process: Process,
        optimizer: AdamW,
        training: Training,
        seed: int,
        smoothing: Probability = 0.0,
        space: LatentSpace | None = None,
    ) -> None:
        super().__init__(optimizer, training, seed)
        self.classifier, self.process, self.times = classifier, process, Uniform()
        self.smoothing = smoothing
        self.space = space

    @property
    def trained(self) -> nn.Module:
        return self.classifier

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        x0, label = clean(batch, draws, self.space), batch["label"]
        t = self.times(draws, self.process)
        x_t, m = self.process.perturb(x0, draws.normal("eps", *x0.shape[1:]), t)
        logits = self.classifier(x_t, m).float()
        accuracy = (logits.argmax(1) == label).float().mean()
        return {"loss": cross_entropy(logits, label, label_smoothing=self.smoothing), "accuracy": accuracy}
