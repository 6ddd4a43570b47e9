"""A process and an objective in the words of a scheduler_config.json of diffusers."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from condiff.config import flow_schedulers
from condiff.config.nodes import Config, argument, at, class_of

BETAS = {"LinearDDPM": "linear", "ScaledLinear": "scaled_linear", "CosineDDPM": "squaredcos_cap_v2"}
TARGETS = {"Epsilon": "epsilon", "V": "v_prediction", "X0": "sample"}
_CHOICES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine_ddpm"}
_OBJECTIVES = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
_SAMPLERS = {"leading": "ddim_leading", "linspace": "ddim_linspace", "trailing": "ddim"}  # by their spacing
_OFFSET = 0.008  # of the cosine in diffusers
# Of its schedulers, where a file leaves a setting out.
_DEFAULTS = {
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "prediction_type": "epsilon",
}


def scheduler_of(cfg: Config) -> dict[str, Any] | None:
    """The settings of a scheduler for the process and the target of a config; None where it has none."""
    process, target = at(cfg, "process"), class_of(at(cfg, "objective", "parameterization"))
    schedule = BETAS.get(class_of(process))
    if schedule is None or target not in TARGETS:
        return None
    if schedule == "squaredcos_cap_v2":
        if argument(process, "offset") != _OFFSET:
            return None
        ends = {}
    else:
        ends = {name: argument(process, name) for name in ("beta_start", "beta_end")}
    return {
        "num_train_timesteps": argument(process, "num_steps"),
        "beta_schedule": schedule,
        **ends,
        "prediction_type": TARGETS[target],
    }


def choices_of(said: Mapping[str, Any], file: str) -> tuple[list[str], dict[str, Any]]:
    """The process, target and steps that a scheduler asks for: choices of groups, and values by their keys.

    ValueError where nothing here has its betas or its target. Whichever solver it is, the steps are walked
    by DDIM, spaced as it says.
    """
    asked = _asked(said)
    process = _one_of(_CHOICES, "beta_schedule", said.get("beta_schedule"), file)
    objective = _one_of(_OBJECTIVES, "prediction_type", asked["prediction_type"], file)
    sampler = _SAMPLERS.get(str(said.get("timestep_spacing")), _SAMPLERS["leading"])
    if _has_own_betas(said):
        raise ValueError(f"{file} has betas of its own, and no process here has them; use another model")
    num_steps = asked["num_train_timesteps"]
    ends = {f"process.{key}": value for key, value in _ends(asked).items()}
    return [f"process={process}", f"objective={objective}", f"sampler={sampler}"], {
        **ends,
        "process.num_steps": num_steps,
        "network.num_steps": num_steps,
    }


def other_than(cfg: Config, said: Mapping[str, Any], file: str) -> Iterator[str]:
    """A line for what a config has otherwise than the scheduler beside a network, where both can be told."""
    if said.get("_class_name") == flow_schedulers.CLASS:
        yield from flow_schedulers.other_than(cfg, said, file)
        return
    asked = _asked(said)
    schedule, target = asked["beta_schedule"], asked["prediction_type"]
    if _has_own_betas(said):
        yield f"network.weights: {file} has betas of its own, and no process here has them; use another model"
        return
    if target in _OBJECTIVES and TARGETS.get(class_of(at(cfg, "objective", "parameterization"))) != target:
        yield (
            f"objective.parameterization: must be that of {file}, prediction_type={target}; use"
            f" objective={_OBJECTIVES[target]}"
        )
    process = at(cfg, "process")
    if schedule not in _CHOICES:
        return
    own = _ends(asked)
    found = {key: argument(process, key) for key in own}
    is_same = BETAS.get(class_of(process)) == schedule and all(
        isinstance(found[key], int | float) and math.isclose(found[key], own[key]) for key in own
    )
    if not is_same or argument(process, "num_steps") != asked["num_train_timesteps"]:
        ends = "".join(f" process.{key}={value:g}" for key, value in own.items())
        yield (
            f"process: must be that of {file}; use process={_CHOICES[schedule]}{ends}"
            f" process.num_steps={asked['num_train_timesteps']}"
        )


def _one_of(known: Mapping[str, str], key: str, value: Any, file: str) -> str:
    """Our name for it; ValueError where we have none."""
    if str(value) not in known:
        raise ValueError(f"{file}: {key} must be one of {', '.join(known)}, got {value}")
    return known[str(value)]


def _asked(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said.get(key, default) for key, default in _DEFAULTS.items()}


def _ends(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The first and the last beta, of a schedule that has them."""
    names = () if asked["beta_schedule"] == "squaredcos_cap_v2" else ("beta_start", "beta_end")
    return {name: asked[name] for name in names}


def _has_own_betas(said: Mapping[str, Any]) -> bool:
    return said.get("trained_betas") is not None or bool(said.get("rescale_betas_zero_snr"))
