"""Code counts, comments do not."""

import textwrap

import pytest

from condiff.stages import fingerprint as room
from condiff.stages.fingerprint import fingerprint, reached, targets


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules in the place of condiff; gives a function that rewrites one."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        for cached in (room._file, room._read, room.fingerprint):
            cached.cache_clear()

    monkeypatch.setattr(room, "ROOT", tmp_path)
    write("a", "from condiff.b import f\n\ndef g():\n    return f()\n")
    write("b", "def f():\n    return 1\n")
    yield write
    monkeypatch.undo()
    for cached in (room._file, room._read, room.fingerprint):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("b", '"""Said."""\n# more\n\ndef f():\n    """Said."""\n    return 1  # one\n', True),
        ("b", "def f():\n    return 2\n", False),
        ("a", "from condiff.b import f\n\ndef g():\n    return 1 + f()\n", False),
        ("c", "unrelated = 1\n", True),
    ],
)
def test_what_changes_the_fingerprint(package, name, text, same):
    before = fingerprint("condiff.a")
    package(name, text)
    assert (fingerprint("condiff.a") == before) is same


def test_a_submodule_imported_by_name_is_reached(package):
    package("a", "from condiff import b\n")
    assert "condiff.b" in reached("condiff.a")


def test_every_target_of_a_config_is_found():
    node = {"x": {"_target_": "condiff.a.A", "links": [{"_target_": "condiff.b.B"}]}, "y": 1}
    assert sorted(targets(node)) == ["condiff.a", "condiff.b"]


def test_training_a_denoiser_reaches_its_method_and_not_the_samplers():
    modules = reached("condiff.stages.denoiser", "condiff.methods.diffusion")
    assert "condiff.diffusion.process" in modules
    assert "condiff.callbacks.ema" in modules
    assert "condiff.diffusion.samplers" not in modules
    assert "condiff.config.validate" not in modules
