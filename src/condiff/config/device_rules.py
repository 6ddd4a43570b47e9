"""What several devices ask of a config."""

from collections.abc import Iterator

from condiff.config.nodes import Config, argument, at, words


def devices_have_work(cfg: Config) -> Iterator[str]:
    """Each of the devices takes a part of every batch, and of the samples."""
    devices, stages = argument(at(cfg, "runtime"), "devices"), words(cfg.get("stages"))
    if type(devices) is not int or devices == 1:
        return
    trainers = {
        name: f"{name}.trainer" for name in ("judge", "autoencoder", "weaker", "classifier", "adapter")
    }
    trainers["denoiser"] = "trainer"
    for path in (path for stage, path in trainers.items() if stage in stages):
        given = argument(at(cfg, *path.split(".")), "batch_size")
        if type(given) is int and given < devices:
            yield f"{path}.batch_size: must be at least runtime.devices={devices}, got {given}"
    given = cfg.get("num_samples")
    if "samples" in stages and type(given) is int and given < devices:
        yield f"num_samples: must be at least runtime.devices={devices}, got {given}"
    if not {*trainers, "samples"} & {*stages}:
        yield (
            f"runtime.devices: {devices} have no effect here, where nothing is trained or drawn; leave it out"
        )
