"""Measure the samples against the data."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from condiff.callbacks.ranks import Alone, Ranks
from condiff.config.build import build
from condiff.config.needed_stages import JUDGED
from condiff.config.signatures import signature_of
from condiff.data.captions import captions_of
from condiff.data.dataset import ShardDataset
from condiff.data.sides import SIDES
from condiff.data.source import SPLITS, DataInfo
from condiff.errors import DataError
from condiff.evaluation.measurement import Measurement
from condiff.files import digest, write_json, written_whole
from condiff.progress import track
from condiff.stages.device import device
from condiff.stages.judge import load_judge
from condiff.stages.outside import of_metrics
from condiff.stages.pictures import from_uint8, load_asked, load_share, num_pictures
from condiff.stages.stage import ASKED, MADE, PER_SAMPLE, PICTURES_MADE, Artifact, Config, Runtime
from condiff.stages.statistics import keep, recall

BATCH = 250
UNSHARED = ("distance", "sentence_encoder")  # what metrics look through that are shown no features of it
Captions = Sequence[str] | None
# [B, C, H, W] in [-1, 1], labels, [B], and what real ones show in words
Pictures = Iterator[tuple[Tensor, Tensor | None, Captions]]
Sets = Mapping[str, Callable[[], Pictures]]  # by the name that metrics know them by


@torch.inference_mode()
def measure(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``metrics.json``: a value with its count, protocol and interval for each metric of the config.

    ``per_sample.safetensors`` beside it has what each sample gives to those that are means over samples.
    Each rank looks at a share of the pictures, and the one that leads computes.
    """
    ranks, metrics = runtime.ranks, ready(cfg, inputs, runtime)
    made = next(inputs[stage] for stage in MADE if stage in inputs).path / PICTURES_MADE
    share = ranks.share(num_pictures(made))
    tell(metrics, load_asked(made), inputs["data"])
    take_in_samples(metrics, load_share(made, share), share, runtime)
    entries, values = entries_of(metrics, ranks), per_sample_of(metrics, ranks)
    if ranks.leads:
        write_json(out / "metrics.json", entries)
        write_per_sample(out / PER_SAMPLE, values, load_asked(made))


def ready(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime) -> dict[str, Measurement]:
    """The metrics of a config with the real pictures taken in, which a process looks at once."""
    keys = {name: inputs[name].key for name in ("data", "judge", "base_data") if name in inputs}
    place, cache = device(runtime), runtime.statistics
    outside = None if cache is None else of_metrics(cfg, cache.parent)
    key = digest([cfg["metrics"], keys, str(place), str(cache), outside])
    if key not in _READY:
        metrics = metrics_of(cfg["metrics"], inputs, place)
        take_in_real(metrics, inputs, runtime)
        _READY.clear()  # features of a large set are large
        _READY[key] = metrics
    return copy.deepcopy(_READY[key])


_READY: dict[str, dict[str, Measurement]] = {}


def metrics_of(nodes: Config, inputs: Mapping[str, Artifact], place: torch.device) -> dict[str, Measurement]:
    """The metrics of a config, with nothing taken in; what is no object there is no metric."""
    judge, own = None, {}
    if "judge" in inputs:
        info = DataInfo.read(inputs["data"].path)
        judge = _Once(load_judge(inputs["judge"], inputs["data"]).to(place), inputs["judge"].key, info)
    named = {name: node for name, node in nodes.items() if isinstance(node, Mapping)}
    return {name: _built(node, f"metrics.{name}", judge, own).to(place) for name, node in named.items()}


def take_in_real(
    metrics: Mapping[str, Measurement], inputs: Mapping[str, Artifact], runtime: Runtime
) -> None:
    """Show the data to the metrics, or to those that need no more its moments of an earlier run.

    Each rank shows its share to its own.
    """
    data, place, ranks = inputs["data"], device(runtime), runtime.ranks
    sets = {side: partial(_real, data, side, place, ranks) for side in SPLITS}
    if (base := inputs.get("base_data")) is not None:
        sets["base"] = partial(_real, base, "train", place, ranks)
    of_base = {
        name: metric for name, metric in metrics.items() if (metric.wanted_real() or ("",))[0] == "base"
    }
    own = {name: metric for name, metric in metrics.items() if name not in of_base}
    pictures = [(own, data.key), *([(of_base, base.key)] if base is not None else [])]
    for some, key in pictures:
        recall(some, key, runtime.statistics, ranks)
    take_in(metrics, sets, ranks)
    for some, key in pictures:
        keep(some, key, runtime.statistics, ranks)


def tell(metrics: Mapping[str, Measurement], stored: Mapping[str, Tensor], data: Artifact) -> None:
    """Say to the metrics that ask for it what all samples are to show in words."""
    captions = captions_of(stored)
    for name, metric in metrics.items():
        if metric.needs_text:
            with told_of(name):
                metric.tell(captions or [], DataInfo.read(data.path).unseen)


def take_in_samples(
    metrics: Mapping[str, Measurement], part: Mapping[str, Tensor], share: range, runtime: Runtime
) -> None:
    """Show the metrics of this rank its share of the samples, and what goes with them: ``drawn_sets``."""
    for metric in metrics.values():
        metric.share(share)
    take_in(metrics, drawn_sets(part, device(runtime)), runtime.ranks)


def take_in(metrics: Mapping[str, Measurement], sets: Sets, ranks: Ranks | None = None) -> None:
    """Show these sets of pictures to the metrics that want to see them."""
    ranks = ranks or Alone()
    wanted = sorted({side for metric in metrics.values() for side in metric.sides} & sets.keys())
    for side in track(wanted, len(wanted), "metrics"):
        for images, label, captions in sets[side]():
            update(metrics, side, images, label, captions)
            ranks.own_step()
    ranks.pause()  # others may be slower


def drawn_sets(stored: Mapping[str, Tensor], place: torch.device) -> Sets:
    """The sets of pictures that a file of samples holds: uint8, each with its label."""

    def pictures(images: Tensor) -> Pictures:
        for part, label in zip(images.split(BATCH), stored["label"].split(BATCH), strict=True):
            yield from_uint8(part).to(place), label.to(place), None

    return {side: partial(pictures, stored[name]) for side, name in SIDES.items() if name in stored}


def update(
    metrics: Mapping[str, Measurement],
    side: str,
    images: Tensor,
    label: Tensor | None,
    captions: Captions = None,
) -> None:
    """Show a batch to the metrics that want to see its set, and say what is in it to those that ask."""
    for name, metric in metrics.items():
        if side in metric.sides:
            with told_of(name):
                if metric.needs_captions and captions is not None:
                    metric.describe(side, captions)
                metric.update(side, images, label)


def entries_of(metrics: Mapping[str, Measurement], ranks: Ranks | None = None) -> dict[str, Any]:
    """What they say, as it stands in metrics.json.

    Each of the ``ranks`` brings what it has seen; the one that leads is given the entries, others none.
    """
    ranks, entries = ranks or Alone(), {}
    for name, metric in track(metrics.items(), len(metrics), "computing"):
        ranks.pause()
        with told_of(name):
            if ranks.leads:
                entries |= metric.entries(name)
            else:
                with metric.sync_context():
                    pass
    return entries


def per_sample_of(metrics: Mapping[str, Measurement], ranks: Ranks | None = None) -> dict[str, Tensor]:
    """What each sample gives, [N] in the order of the samples, to the metrics that are means over them.

    They have the names of their entries. Of several ``ranks`` the one that leads is given them.
    """
    ranks, found = ranks or Alone(), {}
    for name, metric in metrics.items():
        if "samples" in metric.sides:
            ranks.pause()
            with told_of(name), metric.sync_context():
                values, full = (metric.per_sample(), name + metric.suffix()) if ranks.leads else (None, name)
            found |= {} if values is None else {full: values.cpu()}
    return found


def write_per_sample(path: Path, values: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """The file of these values, which says by a hash what the samples were to show; none without values."""
    asked = sha256()
    for name in ("label", "source", "control", "text"):
        if name in stored:
            asked.update(stored[name].cpu().contiguous().numpy().tobytes())
    if values:
        with written_whole(path) as temporary:
            save_file({**values}, temporary, {ASKED: asked.hexdigest()})


class _Once:
    """A network that several metrics ask about the same pictures, and that looks once.

    key: of the artifact that it is from, where its name does not say what weights it has.
    info: of the data that it was trained on, where it knows pictures of one size only.
    """

    def __init__(self, network: Any, key: str = "", info: DataInfo | None = None) -> None:
        self.network = network
        parts = (network, getattr(network, "preprocess", None))
        self.code = [type(part).__module__ for part in parts if part is not None]
        self.shape = None if info is None else [info.channels, info.size, info.size]
        self.name, self.feature_dim = f"{network.name} {key[:6]}".rstrip(), network.feature_dim
        self.seen: Tensor | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if not len(images):  # of a process without a share; not every network takes none
            return images.new_empty(0, self.feature_dim)
        if self.seen is not images:
            self.seen, self.found = images, self.network(self._fitting(images))
        return self.found

    def _fitting(self, images: Tensor) -> Tensor:
        """The pictures in the channels that it knows: grey ones may come in three that are alike."""
        if self.shape is None or self.shape == [*images.shape[1:]]:
            return images
        channels, *size = self.shape
        is_grey = images.shape[1] == 1 or bool((images == images[:, :1]).all())
        if size != [*images.shape[2:]] or not is_grey:
            raise ValueError(f"the {self.name} sees pictures of {self.shape}, got {[*images.shape[1:]]}")
        return images[:, :1].expand(-1, channels, -1, -1)

    def logits(self, images: Tensor) -> Tensor:
        return self.network.head(self(images))

    def __deepcopy__(self, memo: Any) -> "_Once":
        return self  # metrics that are copied still look through one network


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """What a metric refuses to measure is told in one line."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"metrics.{name}: {error}") from error


def _built(node: Config, path: str, judge: _Once | None, own: dict[str, Any]) -> Measurement:
    """A metric with the networks it asks for: its config's, each of them built once, or else the judge."""
    asked = [name for name in JUDGED if name in signature_of(node["_target_"]).parameters]
    networks = {
        name: judge if node.get(name) is None else _network(node[name], f"{path}.{name}", own, _Once)
        for name in asked
    }
    for name in UNSHARED:
        if name in node:
            networks[name] = _network(node[name], f"{path}.{name}", own, _itself)
    return build({key: value for key, value in node.items() if key not in networks}, path, **networks)


def _network(node: Config, path: str, own: dict[str, Any], shared: Callable[[Any], Any]) -> Any:
    key = digest(node)
    if key not in own:
        own[key] = shared(build(node, path))
    return own[key]


def _itself(network: Any) -> Any:
    return network  # no two metrics show a distance the same pairs, and an encoder remembers


def _real(data: Artifact, split: str, place: torch.device, ranks: Ranks) -> Pictures:
    pictures = ShardDataset(data.path, split, held_bytes=0)  # each is looked at once
    for batch in pictures.chunks(BATCH, ranks.share(len(pictures))):
        label = batch["label"].to(place) if "label" in batch else None
        yield batch["image"].to(place), label, batch.get("text")
