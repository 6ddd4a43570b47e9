"""A rectified flow in the words of a scheduler_config.json of diffusers."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from condiff.config.nodes import Config, argument, at, attribute, class_of

CLASS = "FlowMatchEulerDiscreteScheduler"
_DEFAULTS = {"shift": 1.0, "num_train_timesteps": 1000}  # in diffusers, where a file leaves them out
# What would make it another walk, or another training, and must be as it is by default.
_UNSET = (
    "use_dynamic_shifting",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "invert_sigmas",
    "shift_terminal",
    "stochastic_sampling",
)


def choices_of(said: Mapping[str, Any], file: str) -> tuple[list[str], dict[str, Any]]:
    """The process and the steps that a scheduler asks for; ValueError where there are none like them here."""
    if said.get("_class_name") != CLASS:
        raise ValueError(f"{file}: _class_name must be {CLASS}, got {said.get('_class_name')}")
    odd = [key for key in _UNSET if said.get(key)]
    if odd:
        raise ValueError(f"{file}: {odd[0]} must be unset, got {said[odd[0]]}; no sampler here walks so")
    asked = _asked(said)
    return ["process=rectified_flow", "sampler=flow_trained"], {
        "process.shift": asked["shift"],
        "sampler.grid.num_steps": asked["num_train_timesteps"],
    }


def other_than(cfg: Config, said: Mapping[str, Any], file: str) -> Iterator[str]:
    """A line for what a config has otherwise than the scheduler beside a network."""
    target = class_of(at(cfg, "objective", "parameterization"))
    if target != "Velocity":
        yield f"objective.parameterization: must be Velocity for the flow of {file}; use objective=velocity"
    process, shift = at(cfg, "process"), _asked(said)["shift"]
    own = argument(process, "shift")
    if not attribute(process, "straight") or not isinstance(own, int | float) or not math.isclose(own, shift):
        yield f"process: must be that of {file}; use process=rectified_flow process.shift={shift:g}"


def _asked(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said.get(key, default) for key, default in _DEFAULTS.items()}
