"""Every measurement of one set of pictures, by one process or by several."""

import json
from pathlib import Path

import torch
from torch import distributed

from condiff.data.shapes import Shapes
from condiff.evaluation.accuracy import ClassAccuracy
from condiff.evaluation.adherence import Adherence, Avoidance
from condiff.evaluation.circles import DiscColourError, DiscIoU
from condiff.evaluation.condition_check import ConditionUse, SourceUse
from condiff.evaluation.diversity import VendiScore
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.frechet import FrechetDistance
from condiff.evaluation.frechet_infinity import FrechetInfinity
from condiff.evaluation.inception_score import InceptionScore
from condiff.evaluation.kernel import GaussianDistance, KernelDistance, SubsetKernelDistance
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.memorisation import Memorisation
from condiff.evaluation.paired import ColourError, EdgeF1, MaskIoU, PeakSignalNoise
from condiff.evaluation.pairwise import PairwiseDiversity
from condiff.evaluation.precision_recall import PrecisionRecall
from condiff.evaluation.redetected import CoarseError, EdgeFidelity, StrokeFidelity
from condiff.evaluation.similarity import SubjectFidelity
from condiff.evaluation.text_alignment import TextAlignment
from condiff.stages.metrics import per_sample_of
from tests.evaluation.pictures import PixelDistance, Pixels, drawn
from tests.evaluation.words import Numbers, named

DIM = 6
OF_SHAPES = ("adherence", "avoidance")


def measurements() -> dict[str, Measurement]:
    pixels = Pixels(DIM)
    return {
        "accuracy": ClassAccuracy(pixels),
        "use": ConditionUse(pixels),
        "source_use": SourceUse(),
        "fd": FrechetDistance(pixels, bootstrap=20),
        "few": FrechetDistance(pixels, fake="held_out"),
        "infinity": FrechetInfinity(pixels, smallest=0.4),
        "kid": KernelDistance(pixels),
        "kid_subsets": SubsetKernelDistance(pixels, subsets=5, subset_size=30),
        "cmmd": GaussianDistance(pixels),
        "is": InceptionScore(pixels, splits=5),
        "prdc": PrecisionRecall(pixels),
        "vendi": VendiScore(pixels),
        "memorisation": Memorisation(pixels),
        "fidelity": SubjectFidelity(pixels),
        "psnr": PeakSignalNoise(),
        "colour": ColourError(),
        "mask": MaskIoU(),
        "edges": EdgeF1(),
        "disc": DiscIoU(),
        "disc_colour": DiscColourError(),
        "edge_fidelity": EdgeFidelity(),
        "stroke_fidelity": StrokeFidelity(),
        "coarse_error": CoarseError(1),
        "pairwise": PairwiseDiversity(PixelDistance(), pairs=20),
        "adherence": Adherence(),
        "avoidance": Avoidance("red"),
        "alignment": TextAlignment(pixels, Numbers(2)),
    }


def found_by(rank: int, size: int) -> tuple[dict[str, dict], dict[str, list]]:
    """Entries, and values per sample: of 51 samples, 77 training and 5 held-out, this one's every size-th."""
    sets = {"samples": drawn(51, DIM, 0, 0.05), "train": drawn(77, DIM, 1), "held_out": drawn(5, DIM, 2)}
    sets |= {"targets": drawn(51, DIM, 3, 0.3), "controls": drawn(51, DIM, 4, 0.3)}
    shapes, captions = some_shapes(51)
    found = measurements()
    for name, metric in found.items():
        if isinstance(metric, EachSample):
            metric.share(range(51)[rank::size])
        told = name not in OF_SHAPES and named(drawn(77, 2, 5) + sets["train"][:, :2])
        if metric.needs_text:
            metric.tell(told[:51] if told else captions, Shapes().info().unseen)
        for side in metric.sides:
            rows = torch.arange(len(sets[side]))[rank::size]
            for part in rows.split(10 - 3 * rank):  # and not in as many batches
                images = shapes[part] if name in OF_SHAPES else sets[side][part][:, None, None, :]
                if told and metric.needs_captions and side != "samples":
                    metric.describe(side, [told[row] for row in part])
                metric.update(side, images, part % DIM)
    entries = {key: entry for name, metric in found.items() for key, entry in metric.entries(name).items()}
    return entries, {name: values.tolist() for name, values in per_sample_of(found).items()}


def some_shapes(count: int) -> tuple[torch.Tensor, list[str]]:
    """Pictures, [N, 3, 32, 32], and captions, of which the first 17 are of another picture."""
    examples = [Shapes().example("held_out", index) for index in range(count + 1)]
    images = torch.stack([torch.from_numpy(example.image) for example in examples[:count]])
    captions = [str(examples[index + (index < 17)].text) for index in range(count)]
    return images.permute(0, 3, 1, 2) / 127.5 - 1, captions


def one_of(rank: int, size: int, folder: str) -> None:
    """What a process of a group writes."""
    torch.set_num_threads(1)
    address = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
    found = found_by(rank, size)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()
