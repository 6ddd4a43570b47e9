"""Every key a run may have, with its type and default; no torch.

Groups (``data``, ``network``, ...) hold objects named by a ``_target_``, whose arguments are known
by their classes; what has no class of its own is spelled out here.
"""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_type_hints

from condiff.config.annotations import Wired
from condiff.ranges import Count, Natural, NonNegative, Positive, Real

REQUIRED: Any = "???"  # a value the study or the command line must give

# The group of the studies, whose choice sets keys and is none itself.
STUDIES = "experiment"

# Plain arguments that Python fills in, mostly from the data: a config may leave them out.
FILLED_IN = frozenset(
    {
        *("channels", "concat_channels", "folded", "num_classes", "num_labels", "seed", "size", "stride"),
        "with_null",
    }
)

# Objects that only a config can give, inside the object that they are arguments of.
NESTED = frozenset(
    {
        *("adversary", "clip", "codebook", "detector", "distance", "fetch", "inner", "links"),
        *("pictures", "reconstruction", "schedule"),
    }
)


@dataclass
class Runtime:
    """Where and on what a run happens. It never changes a result, so it is never hashed."""

    cache: str = "outputs/cache"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    # torch's implementation of it; flash, efficient and cudnn where a device has them
    attention: Literal["auto", "math", "flash", "efficient", "cudnn"] = "auto"
    devices: Count = 1  # processes that share a training or sampling, each on a GPU of its own or on the CPU
    nodes: Count = 1  # machines, which srun or torchrun reach: to be refused where there are others
    # what each holds of a network that is trained: all of it, or a part (torch's fully_shard)
    strategy: Literal["ddp", "fsdp"] = "ddp"
    rank_timeout: Positive = 120.0  # seconds without a step after which they are taken to hang
    rank_pause: Positive = 600.0  # the same where there are no steps: they start, save, measure
    num_workers: Natural = 0
    sample_batch: Count = 250  # pictures that are drawn at a time; fewer where a device has not the memory
    # torch.compile of the denoiser while samples are drawn: all of it, or the blocks of a transformer
    sample_compile: Literal["none", "whole", "blocks"] = "none"
    checkpoint_seconds: Positive = 30.0
    lock_timeout: Positive = 86400.0  # seconds to wait for a stage that another process makes
    stale: Literal["ask", "reuse", "remake"] = "ask"  # an artifact whose code has changed since
    debug: bool = False


@dataclass
class Logger:
    """Where a run is logged beside its own files. Never hashed."""

    wandb: Literal["auto", "offline", "online", "off"] = "auto"  # auto: online where there is a login
    project: str = "condiff"
    entity: str | None = None  # a user or team; null is the login's own
    group: str | None = None  # runs to be seen together; null is the study's name, or the sweep
    tags: list[str] = field(default_factory=list)
    required: bool = False  # end before anything is trained where wandb is not to be reached
    artifacts: bool = False  # upload weights and report, too
    tensorboard: bool = False
    csv: bool = False
    pictures_every: Natural | None = None  # steps between samples while training; null: four times, 0: never


@dataclass
class Objective:
    """What a denoiser learns: a target, the times it is asked at and their weights."""

    parameterization: Wired = REQUIRED
    times: Wired = REQUIRED
    weight: Wired = REQUIRED


@dataclass
class Model:
    """A model beside the denoiser: the judge, the classifier of noisy images."""

    network: Wired = REQUIRED
    method: Wired = REQUIRED
    optimizer: Wired = REQUIRED
    trainer: Wired = REQUIRED


@dataclass
class Perceptual:
    """How unlike two pictures are to the eye, for an autoencoder to be trained by."""

    distance: Wired | None = None


@dataclass
class FirstStage:
    """The autoencoder, which is trained, or used as others have trained it: then all but network is null."""

    network: Wired = REQUIRED
    method: Wired | None = None
    optimizer: Wired | None = None
    trainer: Wired | None = None


@dataclass
class Weaker:
    """The denoiser again, smaller or trained for less: what autoguidance leads away from."""

    network: Wired | None = None  # null is the denoiser's own
    trainer: Wired = REQUIRED


@dataclass
class Adaptation:
    """What is trained of a finished denoiser on the data of the study, and how much of that is used."""

    tuning: Wired = REQUIRED
    method: Wired = REQUIRED
    optimizer: Wired = REQUIRED
    trainer: Wired = REQUIRED
    text: Wired | None = None  # what is trained of the encoders of text beside it; null: nothing
    text_rate: Positive = 1.0  # of that: what the rate of the optimizer is multiplied by
    rates: dict[str, Positive] | None = None  # the same by ends of names of layers, in which * is anything
    scale: Real = 1.0  # of what it changes: 0 is the base; its training does not know of it
    trigger: list[str] = field(default_factory=list)  # words that call it up, for the header of its file
    control: Wired | None = None  # how what stands beside the denoiser is used; null where nothing does


@dataclass
class Prior:
    """Pictures of a subject's class, drawn by the base, for an adapter to be trained on beside its data."""

    guidance: Wired = REQUIRED
    sampler: Wired = REQUIRED
    num: Count = 200
    text: str | list[str] | None = None  # what they show, in turn
    label: Natural | list[Natural] | None = None  # the same in classes; null: all of them
    weight: NonNegative = 1.0  # of their loss, beside the subject's


@dataclass
class Recipe:
    """What a paper has, for task=check to hold a config to."""

    source: str = REQUIRED  # where its numbers stand
    paper: dict[str, Any] = field(default_factory=dict)  # dotted keys of the config, and the paper's values
    differs: list[str] = field(default_factory=list)  # what no key says


@dataclass
class Run:
    """The top level. A group that a study does not use is null."""

    name: str = REQUIRED
    stages: list[str] = REQUIRED
    question: str = ""
    seed: Natural = 0
    num_samples: Count | None = 500  # null where none are drawn
    data: Wired | None = None
    judge: Model | None = None
    autoencoder: FirstStage | None = None
    perceptual: Perceptual | None = None
    conditioner: Wired | None = None
    process: Wired | None = None
    objective: Objective | None = None
    network: Wired | None = None
    method: Wired | None = None
    optimizer: Wired | None = None
    trainer: Wired | None = None
    weaker: Weaker | None = None
    adapter: Adaptation | None = None
    adapters: list[str] | None = None  # finished: FILE or RUN, :SCALE or 1, :START-END or always, and :guess
    prior: Prior | None = None  # what the base drew, for the adapter not to forget it
    base: str | None = None  # the finished run whose denoiser is adapted; null: it is trained here
    base_data: Wired | None = None  # what the base of the adapter is trained on; null: data
    classifier: Model | None = None
    text: str | list[str] | None = None  # what samples show, in turn; null: held-out captions
    class_text: str | None = None  # the class of an adapter's subject, which it and its base draw beside them
    label: Natural | list[Natural] | None = None  # the same in classes; null: all of them
    # hints of samples, a picture, or a folder in turn; a list: one for each ControlNet; null: held-out ones
    control: str | list[str] | None = None
    guidance: Wired | None = None
    sampler: Wired | None = None
    checkpoint: Count | None = None  # one of the steps in trainer.keep to sample from; null is the end
    # weights to sample with: raw are the last ones, a number is the length of an average that is made of
    # those in trainer.averages, as a share of the training; null is the moving average, where there is one
    average: Positive | Literal["raw"] | None = None
    images: str | None = None  # what task=evaluate measures
    reference: str | None = None  # and against what: a folder, an .npz, or data
    check: list[str] | None = None  # task=check: [], which becomes the stages that would have run
    recipe: Recipe | None = None
    runs: list[str] | str | None = None  # what task=compare compares: folders, or patterns of them
    from_: str | None = None  # ``from``: the finished run that task=sample draws from, or task=export exports
    n: Count | None = None  # of task=sample: the number of pictures
    negative: str | list[str] | None = None  # of task=sample: words that they are led away from
    sample_precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"  # of a denoiser that draws
    metrics: dict[str, Wired | int] | None = None  # every: steps between measurings while training
    runtime: Runtime = field(default_factory=Runtime)
    logger: Logger = field(default_factory=Logger)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of one of the classes above."""

    annotation: Any
    default: Any


def keys_of(part: type) -> dict[str, Key]:
    hints = get_type_hints(part, include_extras=True)
    # from is a word of the language, so it is from_ in Run
    return {f.name.rstrip("_"): Key(hints[f.name], _default(f)) for f in fields(part)}


def defaults() -> dict[str, Any]:
    """A run with nothing chosen, as plain values."""
    return {name: key.default for name, key in keys_of(Run).items()}


def _default(key: Any) -> Any:
    value = key.default if key.default is not NO_DEFAULT else key.default_factory()
    if is_dataclass(value):
        return {name: getattr(value, name) for name in keys_of(type(value))}
    return value
