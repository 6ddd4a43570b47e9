"""Do samples show what their captions say?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.features.clip import Clip
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import gathered


class ClipScore(EachSample):
    """100 max(cos, 0) of picture and caption in CLIP's space, the mean over samples (Hessel 2021, eq. 1).

    The paper's factor is 2.5; 100 is the usual one since.

    captions: of each class, in the order of the labels.
    """

    needs_label = True
    higher_is_better = True
    scores: list[Tensor]

    def __init__(self, clip: Clip, captions: Sequence[str]) -> None:
        super().__init__()
        self.clip, self.captions = clip, [*captions]
        self.protocol = f"samples and {len(self.captions)} captions, 100 cos, {clip.name}"
        self.texts = torch.nn.functional.normalize(clip.texts(self.captions), dim=1)
        self.add_state("scores", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.scores))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        if label is None:
            raise ValueError("ClipScore needs labelled samples")
        check_pictures(self, side, images)
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < len(self.captions):
            raise ValueError(
                f"ClipScore.captions has {len(self.captions)}, and label {int(label.max())} has none"
            )
        self.take_places(images)
        seen = torch.nn.functional.normalize(self.clip(images), dim=1)
        self.scores.append(100 * (seen * self.texts.to(seen.device)[label]).sum(1).clamp(min=0).double())

    def compute(self) -> Tensor:
        if self.count < 2:
            raise ValueError(f"ClipScore needs at least 2 samples pictures, got {self.count}")
        return gathered(self.scores).mean()

    def interval(self) -> Interval:
        scores = gathered(self.scores)
        return normal(float(scores.mean()), scores)

    def per_sample(self) -> Tensor:
        return self.in_turn(gathered(self.scores))
