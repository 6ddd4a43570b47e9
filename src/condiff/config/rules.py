"""Choices that do not fit together, found before anything is built.

A rule takes a config, which may have other mistakes, and gives a line for each misfit; the line
names both keys. Facts about a class come from its source, so no rule imports torch.
"""

import re
from collections.abc import Callable, Collection, Iterator

from condiff.config.adapter_rules import (
    adapter_is_used,
    base_is_trained_on_its_data,
    class_is_of_a_subject,
    finished_adapters_are_named,
    trigger_calls_up,
)
from condiff.config.control_rules import control_is_of_a_controlnet, hints_are_heard
from condiff.config.data_rules import shards_lie_in_one_place
from condiff.config.device_rules import (
    batches_have_parts,
    compiling_has_a_compiler,
    devices_have_work,
    other_libraries_are_installed,
    parts_can_be_held,
    precision_is_of_samples,
)
from condiff.config.given_rules import (
    first_stage_is_trained_or_given,
    given_weights_are_not_trained,
    latents_are_those_of_the_training,
    network_is_told_its_step,
    what_weighs_a_distance_has_one,
)
from condiff.config.guidance_rules import (
    guidance_fits_the_study,
    guidance_has_its_null,
    guidance_is_given_its_settings,
    learned_variance_is_learned,
    nothing_is_asked_of_the_untold,
    sampler_can_follow,
)
from condiff.config.hints import nearest
from condiff.config.kinds import objects, wrong_kinds
from condiff.config.logger_rules import logger_is_understood
from condiff.config.needed_stages import is_judged
from condiff.config.network_rules import (
    adversary_begins,
    adversary_has_no_scaled_loss,
    codebooks_are_trained,
    discriminator_sees_something,
    levels_fit,
    size_can_be_halved,
    what_is_compared_has_one_shape,
)
from condiff.config.nodes import Config, argument, at, attribute, class_of, words
from condiff.config.prior_rules import prior_can_be_drawn, prior_is_used
from condiff.config.sampler_rules import grid_fits_the_process, sampler_has_no_more_steps_than_the_process
from condiff.config.task_rules import what_a_task_takes_is_given
from condiff.config.text_rules import (
    captions_are_encoded_for_text,
    classes_are_led_away_from_where_they_are_told,
    metrics_are_told_what_they_read,
    negative_leads_away,
    several_are_dropped_in_turn,
    text_is_attended_to,
    what_is_asked_is_heard,
)
from condiff.config.weights_rules import average_is_kept, checkpoint_is_kept

Rule = Callable[[Config], Iterator[str]]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", re.ASCII)
_DENOISER = ("process", "objective", "network")
_TRAINED = ("method", "optimizer", "trainer")
# The parts without which a stage cannot run; a pixel study has no autoencoder.
_NEEDS = {
    "data": ("data",),
    "judge": ("judge",),
    "autoencoder": ("autoencoder",),
    "latents": ("autoencoder",),
    "denoiser": ("data", "conditioner", *_DENOISER, *_TRAINED),
    "weaker": ("data", "conditioner", "process", "objective", "weaker", "method", "optimizer"),
    "classifier": ("data", "process", "classifier"),
    "base_data": ("base_data",),
    "prior": ("data", "conditioner", *_DENOISER, "prior"),
    "prior_latents": ("autoencoder",),
    "adapter": ("data", "conditioner", *_DENOISER, "adapter"),
    "samples": ("conditioner", *_DENOISER, "guidance", "sampler"),
    "reconstructions": ("autoencoder",),
    "metrics": ("metrics",),
    "evaluation": ("metrics",),
    "statistics": ("metrics",),
}
_ORDERED = (
    ("beta_start", "beta_end"),
    ("sigma_min", "sigma_max"),
    ("low", "high"),
    ("s_min", "s_max"),
    ("start", "stop"),
)
# A name, the part of a metric that earns it, in whose features, and the name without it.
_EARNED = (
    ("fid", "extractor", "Inception 2015", "fd"),
    ("sfid", "extractor", "Inception 2015", "fd"),
    ("lpips", "distance", "VGG16", "diversity"),
)


def unknown_stages(cfg: Config, known: Collection[str]) -> Iterator[str]:
    names = words(cfg.get("stages"))
    if cfg.get("stages") == []:
        yield f"stages: must name at least one of {', '.join(known)}, got []"
    for place, name in enumerate(names):
        if name not in known:
            yield f"stages[{place}]: must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}"
        elif name in names[:place]:
            yield f"stages[{place}]: {name} is named twice"


def stages_have_their_parts(cfg: Config) -> Iterator[str]:
    stages = [name for name in words(cfg.get("stages")) if name in _NEEDS]
    first = {part: stage for stage in reversed(stages) for part in _NEEDS[stage]}
    for part, stage in first.items():
        if cfg.get(part) is None:
            yield f"{part}: is null, and stage {stage} needs it; choose one, {part}=NAME"


def name_is_a_file_name(cfg: Config) -> Iterator[str]:
    """The name becomes a folder's, so it must not lead anywhere else."""
    name = cfg.get("name")
    if isinstance(name, str) and name != "???" and not _NAME.fullmatch(name):
        shown = name if len(name) <= 80 else f"{name[:77]}..."
        yield (
            "name: must be 1 to 80 of the characters A-Z a-z 0-9 . _ - and start with none of . and -,"
            f" got {shown!r}"
        )


def target_can_be_read_back(cfg: Config) -> Iterator[str]:
    """At zero signal x_t is pure noise: a network that names the noise has said nothing of x0."""
    asked, process = at(cfg, "objective", "parameterization"), at(cfg, "process")
    if attribute(asked, "needs_signal") and attribute(process, "reaches_zero_snr"):
        yield (
            f"objective.parameterization: {class_of(asked)} cannot be read back where process"
            f" {class_of(process)} has no signal left; use objective=velocity or v"
        )


def one_thing_is_measured(cfg: Config) -> Iterator[str]:
    """Samples are measured where there are some, and reconstructions in a study of an autoencoder."""
    stages, made = words(cfg.get("stages")), ("samples", "reconstructions")
    if "metrics" in stages and not {*made} & {*stages}:
        yield f"stages: metrics needs {' or '.join(made)}, which this study does not have"
    if {*made} <= {*stages}:
        yield f"stages: a study has either of {' and '.join(made)}, and measures it; leave one out"


def metrics_are_objects(cfg: Config) -> Iterator[str]:
    """The one number among the metrics is how often they are taken while the denoiser trains."""
    metrics = at(cfg, "metrics")
    for name, node in metrics.items():
        if type(node) is int and name != "every":
            yield f"metrics.{name}: must be an object with a _target_, got {node}; a number is metrics.every"
        elif type(node) is int and node < 0:
            yield f"metrics.every: must be an integer >= 0, got {node}; 0 measures once, at the end"
    if metrics.get("every") and "evaluation" in words(cfg.get("stages")):
        yield "metrics.every: has no effect here, where nothing is trained; leave it out"
    for _, node in objects(at(cfg, "guidance"), "guidance"):
        second = attribute(node, "needs_stage")
        if metrics.get("every") and second:
            yield (
                f"metrics.every: {class_of(node)} needs stage {second}, which is trained after the denoiser;"
                " use metrics.every=0, or guidance=cfg"
            )


def samples_are_counted_where_they_are_drawn(cfg: Config) -> Iterator[str]:
    """Pictures that are there already are measured, all of them."""
    stages, given = words(cfg.get("stages")), cfg.get("num_samples")
    if given is not None and {"evaluation", "statistics"} & {*stages}:
        yield f"num_samples: has no effect here, where nothing is drawn; leave it out, got {given}"
    elif given is None and {"samples", "reconstructions", "check"} & {*stages}:
        yield "num_samples: must be an integer >= 1, got null; 500 is usual"


def ends_are_in_order(cfg: Config) -> Iterator[str]:
    for path, node in objects(cfg, ""):
        for low, high in _ORDERED:
            first, last = argument(node, low), argument(node, high)
            if isinstance(first, int | float) and isinstance(last, int | float) and not first < last:
                yield f"{path}.{low}: must be below {path}.{high}={last:g}, got {first:g}"


def judges_look_at_their_own(cfg: Config) -> Iterator[str]:
    """A judge is trained on the data that are measured."""
    stages = words(cfg.get("stages"))
    others = cfg.get("reference") not in (None, "data") and {"evaluation", "statistics"} & {*stages}
    judged = [f"metrics.{name}" for name, node in at(cfg, "metrics").items() if is_judged(node)]
    if others and judged:
        more = f" (and {len(judged) - 1} more)" if judged[1:] else ""
        yield (
            f"{judged[0]}: looks through a judge{more}, which is trained on the data, and these are not the"
            " reference; use reference=data data=NAME, or metrics=efficientnet_lite0"
        )


def samples_are_enough(cfg: Config) -> Iterator[str]:
    """A metric of the samples that needs a number of them is not started with fewer."""
    given = None if "evaluation" in words(cfg.get("stages")) else cfg.get("num_samples")
    for path, node in objects(at(cfg, "metrics"), "metrics"):
        for name in ("least", "subset_size", "splits"):
            least = argument(node, name)
            if argument(node, "fake") not in ("samples", None) or not type(least) is type(given) is int:
                continue
            if given < least:
                yield f"num_samples: must be at least {path}.{name}={least}, got {given}"


def extrapolations_have_more_samples_than_features(cfg: Config) -> Iterator[str]:
    """The smallest part of an extrapolation still has more pictures than the judge has features."""
    given, features = cfg.get("num_samples"), argument(at(cfg, "judge", "network"), "feature_dim")
    for path, node in objects(at(cfg, "metrics"), "metrics"):
        smallest = argument(node, "smallest")
        if not (isinstance(smallest, float) and isinstance(given, int) and isinstance(features, int)):
            continue
        if is_judged(node) and int(smallest * given) <= features:
            enough = int(features / smallest) + 2
            yield (
                f"num_samples: must leave more than the judge's {features} features in"
                f" {path}.smallest={smallest:g} of it, got {given}; use {enough} or more"
            )


def names_are_earned(cfg: Config) -> Iterator[str]:
    """FID and sFID are numbers of the Inception of 2015, LPIPS of VGG16; others have other names."""
    for name, node in at(cfg, "metrics").items():
        way = attribute(at(cfg, "metrics", name, "extractor", "preprocess"), "called")
        said = str(name).split("_")
        if way and "fid" in said and way not in said:
            yield f"metrics.{name}: FID after another resize is another number; call it {way}_fid"
        for word, part, features, other in _EARNED:
            called = attribute(at(node, part), "called") if isinstance(node, dict) else None
            if word in said and called != word:
                yield (
                    f"metrics.{name}: only a distance in the features of {features} is called {word};"
                    f" give it the {part} of metrics={word}, or call it {other}_..."
                )


RULES: tuple[Rule, ...] = (
    stages_have_their_parts,
    name_is_a_file_name,
    target_can_be_read_back,
    guidance_has_its_null,
    nothing_is_asked_of_the_untold,
    guidance_is_given_its_settings,
    guidance_fits_the_study,
    sampler_can_follow,
    learned_variance_is_learned,
    network_is_told_its_step,
    given_weights_are_not_trained,
    latents_are_those_of_the_training,
    first_stage_is_trained_or_given,
    what_weighs_a_distance_has_one,
    adapter_is_used,
    control_is_of_a_controlnet,
    hints_are_heard,
    base_is_trained_on_its_data,
    class_is_of_a_subject,
    finished_adapters_are_named,
    prior_is_used,
    prior_can_be_drawn,
    one_thing_is_measured,
    adversary_begins,
    adversary_has_no_scaled_loss,
    codebooks_are_trained,
    discriminator_sees_something,
    metrics_are_objects,
    checkpoint_is_kept,
    average_is_kept,
    samples_are_counted_where_they_are_drawn,
    size_can_be_halved,
    what_is_compared_has_one_shape,
    ends_are_in_order,
    levels_fit,
    wrong_kinds,
    sampler_has_no_more_steps_than_the_process,
    grid_fits_the_process,
    samples_are_enough,
    extrapolations_have_more_samples_than_features,
    what_a_task_takes_is_given,
    judges_look_at_their_own,
    metrics_are_told_what_they_read,
    text_is_attended_to,
    captions_are_encoded_for_text,
    several_are_dropped_in_turn,
    negative_leads_away,
    classes_are_led_away_from_where_they_are_told,
    what_is_asked_is_heard,
    names_are_earned,
    trigger_calls_up,
    logger_is_understood,
    batches_have_parts,
    devices_have_work,
    parts_can_be_held,
    compiling_has_a_compiler,
    precision_is_of_samples,
    other_libraries_are_installed,
    shards_lie_in_one_place,
)
