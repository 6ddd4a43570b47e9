"""What is known here of diffusers' autoencoders is what the installed diffusers has."""

import inspect

import pytest
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.autoencoders.vq_model import VQModel

from condiff.autoencoders.published_settings import DEFAULTS, IGNORED, KINDS


@pytest.mark.parametrize("cls", [AutoencoderKL, VQModel, AutoencoderTiny])
def test_every_setting_is_known_with_its_default(cls):
    kind, arguments = cls.__name__, [*inspect.signature(cls.__init__).parameters.values()][1:]
    defaults = {argument.name: argument.default for argument in arguments}
    listed = {key: [*value] if isinstance(value, tuple) else value for key, value in defaults.items()}
    assert {**listed, **DEFAULTS[kind]} == listed
    assert {*listed} <= {*DEFAULTS[kind]} | IGNORED[kind]
    assert not {*DEFAULTS[kind]} & IGNORED[kind]


def test_these_are_all():
    assert KINDS == ("AutoencoderKL", "VQModel", "AutoencoderTiny")
