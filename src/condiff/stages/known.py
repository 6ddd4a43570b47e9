"""Every stage that a study may have, in their order; nothing of what they run with is imported."""

from condiff.stages.stage import Stage

# Of an adapter, what its training depends on.
ADAPTED = ("tuning", "text", "text_rate", "method", "optimizer", "trainer", "trigger")
_MADE_OF_DATA = ("data", "latents", "texts")  # which a base has of its own data

_TEXTS = Stage(
    "texts",
    "condiff.stages.texts:encode",
    needs=("data",),
    reads=("conditioner",),
    source="condiff.stages.given:of_texts",
)
_LATENTS = Stage("latents", "condiff.stages.latents:encode", needs=("data", "autoencoder"), is_shared=True)

STAGES = (
    Stage(
        "base_data",
        "condiff.stages.data:write_of_base",
        reads=("base_data",),
        source="condiff.stages.data:fingerprint_of_base",
    ),
    Stage(
        "data",
        "condiff.stages.data:write",
        reads=("data",),
        source="condiff.stages.data:fingerprint",
    ),
    Stage("judge", "condiff.stages.judge:train", needs=("data",), reads=("judge",), is_shared=True),
    _TEXTS,
    _TEXTS.of_base_data(),
    Stage(
        "autoencoder",
        "condiff.stages.autoencoder:train",
        needs=("data",),
        of_base=("data",),
        reads=("seed", "autoencoder"),
        source="condiff.stages.given:of_autoencoder",
        is_shared=True,
    ),
    _LATENTS,
    _LATENTS.of_base_data(),
    Stage(
        "denoiser",
        "condiff.stages.denoiser:train",
        needs=("data",),
        takes=("latents", "texts"),
        of_base=_MADE_OF_DATA,
        reads=("seed", "conditioner", "process", "objective", "network", "method", "optimizer", "trainer"),
        source="condiff.stages.given:of_denoiser",
        is_shared=True,
    ),
    Stage(
        "weaker",
        "condiff.stages.denoiser:train",
        needs=("data",),
        takes=("latents", "texts"),
        of_base=_MADE_OF_DATA,
        reads=("seed", "conditioner", "process", "objective", "network", "method", "optimizer", "weaker"),
        source="condiff.stages.given:of_weaker",
        is_shared=True,
    ),
    Stage(
        "classifier",
        "condiff.stages.classifier:train",
        needs=("data",),
        takes=("autoencoder", "latents"),
        reads=("seed", "process", "classifier"),
        source="condiff.stages.given:of_classifier",
        is_shared=True,
    ),
    Stage(
        "prior",
        "condiff.stages.prior:draw",
        needs=("data", "denoiser"),
        takes=("autoencoder", "latents", "texts"),
        of_base=_MADE_OF_DATA,
        reads=("seed", *(f"prior.{key}" for key in ("num", "text", "label", "guidance", "sampler"))),
        is_shared=True,
    ),
    Stage("prior_latents", "condiff.stages.prior:encode", needs=("prior", "autoencoder"), is_shared=True),
    Stage(
        "adapter",
        "condiff.stages.adapter:train",
        needs=("data", "denoiser"),
        takes=("latents", "base_latents", "texts", "prior", "prior_latents"),
        reads=("seed", "objective", *(f"adapter.{key}" for key in ADAPTED), "prior.weight"),
        is_shared=True,
    ),
    Stage(
        "samples",
        "condiff.stages.samples:draw",
        needs=("data", "denoiser"),
        takes=("autoencoder", "latents", "texts", "weaker", "classifier", "adapter"),
        of_base=("latents",),
        reads=(
            "seed",
            "num_samples",
            "text",
            "label",
            "guidance",
            "sampler",
            "checkpoint",
            "adapters",
            "adapter.scale",
            "adapter.control",
        ),
        source="condiff.stages.finished_adapters:of_samples",
        is_shared=True,
    ),
    Stage(
        "reconstructions",
        "condiff.stages.reconstructions:decode",
        needs=("data", "autoencoder"),
        reads=("num_samples",),
        is_shared=True,
    ),
    Stage(
        "metrics",
        "condiff.stages.metrics:measure",
        needs=("data",),
        takes=("samples", "reconstructions", "judge"),
        reads=("metrics",),
        source="condiff.stages.outside:of_metrics",
        is_shared=True,
    ),
    Stage(
        "evaluation",
        "condiff.stages.evaluation:measure",
        takes=("data", "judge"),
        reads=("images", "reference", "metrics"),
        source="condiff.stages.outside:of_evaluation",
    ),
    Stage(
        "statistics",
        "condiff.stages.evaluation:moments",
        takes=("data", "judge"),
        reads=("reference", "metrics"),
        source="condiff.stages.outside:of_statistics",
    ),
    Stage(
        "check",
        "condiff.stages.check:check",
        reads=(
            *("check", "recipe", "seed", "num_samples", "data", "conditioner", "process", "objective"),
            *("network", "method", "optimizer", "trainer", "autoencoder", "weaker", "classifier"),
            *("adapter", "guidance", "sampler"),
        ),
    ),
    Stage(
        "comparison",
        "condiff.stages.comparison:compare",
        reads=("name", "question", "runs"),
        source="condiff.stages.outside:of_runs",
    ),
    Stage(
        "export",
        "condiff.stages.export:export",
        reads=("from",),
        source="condiff.stages.outside:of_run",
    ),
)
