"""What may be measured with what, and what a measurement brings into a study."""

import pytest

from condiff.config.kinds import wrong_kinds
from condiff.config.needed_stages import with_needed_stages
from tests.config.nodes import of, told

GUIDANCE = "condiff.diffusion.guidance"
FEATURES = "evaluation.features"


def test_a_metric_gets_the_samples_that_it_needs():
    kid = of("evaluation.kernel", "SubsetKernelDistance", subset_size=100)
    assert told(metrics={"kid": kid}, stages=["evaluation"], images="a", reference="data") == []
    (line,) = told(num_samples=50, metrics={"kid": kid})
    assert line == "num_samples: must be at least metrics.kid.subset_size=100, got 50"
    assert told(num_samples=100, metrics={"kid": kid}) == []
    assert told(num_samples=50, metrics={"kid": {**kid, "fake": "held_out"}}) == []
    frechet = of("evaluation.frechet", "FrechetDistance", least=2049)
    score = of("evaluation.inception_score", "InceptionScore")
    assert len(told(num_samples=9, metrics={"fd": frechet, "is": score})) == 2


def test_a_number_of_samples_is_given_where_some_are_drawn_and_nowhere_else():
    asked = {"evaluation": {"images": "a", "reference": "b"}, "statistics": {"reference": "b"}}
    for stage, keys in asked.items():
        parts = {"stages": [stage], "metrics": {}, **keys}
        assert told(**parts) == []
        (line,) = told(**parts, num_samples=50)
        assert line == "num_samples: has no effect here, where nothing is drawn; leave it out, got 50"
    lines = told(stages=["samples"])
    assert "num_samples: must be an integer >= 1, got null; 500 is usual" in lines
    assert not any("num_samples" in line for line in told(stages=["samples"], num_samples=50))


def test_an_extrapolation_gets_more_samples_than_features():
    infinity = of("evaluation.frechet_infinity", "FrechetInfinity", smallest=0.5)
    judge = {"network": of("evaluation.judge", "Judge", feature_dim=64)}

    def about(num_samples, metric=infinity):
        lines = told(num_samples=num_samples, metrics={"fd": metric}, judge=judge)
        return [line for line in lines if line.startswith("num_samples")]

    (line,) = about(129)
    assert line == (
        "num_samples: must leave more than the judge's 64 features in metrics.fd.smallest=0.5 of it, got 129;"
        " use 130 or more"
    )
    assert about(130) == []
    body = of("evaluation.features.efficientnet_lite0", "EfficientNetLite0Body")
    assert about(9, {**infinity, "extractor": body}) == []


def test_metrics_bring_the_judge_where_one_of_them_looks_through_it():
    study = ["denoiser", "samples", "metrics"]
    judged, unjudged = of("evaluation.accuracy", "ClassAccuracy"), of("evaluation.clip_score", "ClipScore")
    body = of("evaluation.features.efficientnet_lite0", "EfficientNetLite0Body")
    own = of("evaluation.frechet", "FrechetDistance", extractor=body)
    bare = of("evaluation.frechet", "FrechetDistance")
    for metrics in ({"a": judged}, {"a": own, "b": bare}):
        assert with_needed_stages({"stages": study, "metrics": metrics}) == [*study, "data", "judge"]
    for metrics in ({"a": own, "every": 0}, {"a": unjudged}, {}, None):
        assert with_needed_stages({"stages": study, "metrics": metrics}) == study
    assert with_needed_stages({"stages": ["denoiser"], "metrics": {"a": judged}}) == ["denoiser"]
    on_the_way = {"stages": ["denoiser"], "metrics": {"a": judged, "every": 5}}
    assert with_needed_stages(on_the_way) == ["denoiser", "data", "judge"]


def test_no_judge_is_trained_on_data_that_nobody_measures():
    def about(**cfg):
        return [line for line in told(**cfg) if line.startswith("metrics.a")]

    judged, own = of("evaluation.frechet", "FrechetDistance"), of("evaluation.paired", "EdgeF1")
    for stages in (["evaluation"], ["statistics"]):
        (line,) = about(stages=stages, images="x", reference="y", metrics={"a": judged})
        assert line.endswith("use reference=data data=NAME, or metrics=efficientnet_lite0")
        assert about(stages=stages, images="x", reference="data", metrics={"a": judged}) == []
        assert about(stages=stages, images="x", reference="y", metrics={"a": own}) == []


def test_pairs_are_measured_where_there_are_some():
    def about(conditioner, *stages):
        metrics = {"a": of("evaluation.paired", "EdgeF1"), "b": of("evaluation.frechet", "FrechetDistance")}
        lines = told(stages=[*stages], conditioner=conditioner, metrics=metrics)
        return [line for line in lines if line.startswith(("metrics.a", "metrics.b"))]

    label = of("conditioners.label", "ClassLabel")
    (line,) = about(label, "samples", "metrics")
    assert line == (
        "metrics.a: compares targets, which only a study of edits has; use experiment=instruct_pix2pix, or"
        " metrics=judged"
    )
    assert about(of("conditioners.label_and_picture", "LabelAndPicture"), "samples", "metrics") == []


def test_samples_of_a_class_are_measured_where_it_is_named():
    metrics = {"a": of("evaluation.similarity", "SubjectFidelity", fake="class_of_base")}
    study = {"stages": ["samples", "metrics"], "metrics": metrics}
    (line,) = [line for line in told(**study) if line.startswith("metrics.a")]
    assert line == "metrics.a: compares samples of a subject's class; name it, class_text='...'"
    lines = told(**study, class_text="a dog")
    assert [line for line in lines if line.startswith(("metrics.a", "class_text"))] == [
        "class_text: is for a study that trains an adapter and draws samples; leave it out"
    ]


@pytest.mark.parametrize("task", ["evaluation", "statistics"])
def test_a_reference_that_is_the_data_brings_the_data(task):
    assert with_needed_stages({"stages": [task], "reference": "data"}) == [task, "data"]
    assert with_needed_stages({"stages": [task], "reference": "folder"}) == [task]


def test_pictures_are_asked_of_an_evaluation_and_have_no_effect_elsewhere():
    def about(*stages, **cfg):
        return [line for line in told(stages=[*stages], **cfg) if line.startswith(("images", "reference"))]

    assert about("evaluation", images="a", reference="b") == []
    assert about("statistics", reference="b") == []
    assert about("samples") == []
    assert about("evaluation", images="a") == [
        "reference: is required; give a folder or an .npz, reference=..."
    ]
    assert about("statistics", images="a", reference="b") == [
        "images: has no effect here, only with task=evaluate; leave it out"
    ]
    assert len(about("samples", "metrics", images="a", reference="b")) == 2


def test_runs_are_asked_of_a_comparison_and_have_no_effect_elsewhere():
    def about(*stages, **cfg):
        return [line for line in told(stages=[*stages], **cfg) if line.startswith("runs")]

    assert about("comparison", runs=["a", "b"]) == []
    assert about("comparison", runs="sweep") == []
    assert about("comparison") == ["runs: is required; give run folders, runs=..."]
    assert about("samples", runs=["a"]) == ["runs: has no effect here, only with task=compare; leave it out"]


def test_the_one_number_among_the_metrics_is_how_often_they_are_taken():
    accuracy = of("evaluation.accuracy", "ClassAccuracy")
    assert told(metrics={"every": 50, "class_accuracy": accuracy}) == []
    (line,) = told(metrics={"every": -5, "class_accuracy": accuracy})
    assert line == "metrics.every: must be an integer >= 0, got -5; 0 measures once, at the end"
    (line,) = told(metrics={"evry": 50})
    assert line == "metrics.evry: must be an object with a _target_, got 50; a number is metrics.every"
    weaker = of("diffusion.guidance.references", "AutoGuidance", scale=2.0)
    assert told(metrics={"every": 0}, guidance=weaker) == []
    (line,) = told(metrics={"every": 50}, guidance=weaker)
    assert line.startswith(
        "metrics.every: AutoGuidance needs stage weaker, which is trained after the denoiser"
    )


def test_fid_and_sfid_are_names_of_the_inception_of_2015_only():
    frechet = of("evaluation.frechet", "FrechetDistance")
    pool3 = {**frechet, "extractor": of(f"{FEATURES}.inception", "Inception")}
    spatial = {**frechet, "extractor": of(f"{FEATURES}.inception", "InceptionSpatial")}
    lite0 = {**frechet, "extractor": of(f"{FEATURES}.efficientnet_lite0", "EfficientNetLite0")}
    assert told(metrics={"fid": pool3, "clean_fid_floor": pool3, "sfid": spatial, "fd_lite0": lite0}) == []
    wrong = [("fid", frechet), ("fid", lite0), ("fid_judge", frechet), ("sfid", pool3), ("fid", spatial)]
    for name, metric in wrong:
        (line,) = told(metrics={name: metric})
        word = "sfid" if name == "sfid" else "fid"
        assert line == (
            f"metrics.{name}: only a distance in the features of Inception 2015 is called {word};"
            f" give it the extractor of metrics={word}, or call it fd_..."
        )


def test_lpips_is_the_name_of_the_distance_on_vgg16_only():
    pairwise = of("evaluation.pairwise", "PairwiseDiversity")
    published = {**pairwise, "distance": of(f"{FEATURES}.perceptual", "LPIPS")}
    kin = {**pairwise, "distance": of(f"{FEATURES}.perceptual", "EfficientNetLite0Distance")}
    assert told(metrics={"lpips_diversity_floor": published, "diversity_lite0": kin}) == []
    assert told(metrics={"lpips_diversity": kin}) == [
        "metrics.lpips_diversity: only a distance in the features of VGG16 is called lpips;"
        " give it the distance of metrics=lpips, or call it diversity_..."
    ]


def test_fid_after_another_resize_has_another_name():
    def named(name, way):
        resize = of(f"{FEATURES}.preprocess", way)
        pool3 = of(f"{FEATURES}.inception", "Inception", preprocess=resize)
        return told(metrics={name: of("evaluation.frechet", "FrechetDistance", extractor=pool3)})

    assert (
        named("fid", "Fid")
        == named("clean_fid", "CleanFid")
        == named("torchmetrics_fid", "Torchmetrics")
        == []
    )
    for name, way in (("fid", "CleanFid"), ("clean_fid", "Torchmetrics"), ("fid_floor", "Bicubic")):
        (line,) = named(name, way)
        assert line.startswith(f"metrics.{name}: FID after another resize is another number; call it ")


def test_a_metric_looks_through_a_network_of_features_and_asks_a_classifier():
    frechet, score = of("evaluation.frechet", "FrechetDistance"), of("evaluation.accuracy", "ClassAccuracy")
    dinov2 = of(f"{FEATURES}.dinov2", "DINOv2", preprocess=of("evaluation.accuracy", "ClassAccuracy"))
    cfg = {"metrics": {"fd": {**frechet, "extractor": score}, "accuracy": {**score, "judge": dinov2}}}
    cfg["metrics"]["diversity"] = {**of("evaluation.pairwise", "PairwiseDiversity"), "distance": score}
    assert list(wrong_kinds(cfg)) == [
        "metrics.fd.extractor._target_: must be a FrozenFeatures, got"
        " condiff.evaluation.accuracy.ClassAccuracy",
        "metrics.accuracy.judge._target_: must be a FrozenClassifier, got"
        " condiff.evaluation.features.dinov2.DINOv2",
        "metrics.accuracy.judge.preprocess._target_: must be a Preprocess, got"
        " condiff.evaluation.accuracy.ClassAccuracy",
        "metrics.diversity.distance._target_: must be a PerceptualDistance, got"
        " condiff.evaluation.accuracy.ClassAccuracy",
    ]


def test_captions_are_read_where_there_are_some():
    adherence = of("evaluation.adherence", "Adherence")

    def about(metric, *stages):
        lines = told(stages=[*stages], metrics={"a": metric, "every": 0}, images="x", reference="y")
        return [line for line in lines if line.startswith("metrics.a")]

    (line,) = about(adherence, "samples", "metrics")
    assert line == (
        "metrics.a: reads captions, which samples of this study do not have; use conditioner=text,"
        " task=evaluate of a folder with metadata.jsonl, or metrics=judged"
    )
    assert about(adherence, "evaluation") == []
    (line,) = about(of("evaluation.clip_score", "ClipScore"), "samples", "metrics")
    assert line.startswith(
        "metrics.a: reads captions, which samples of this study do not have; use metrics.a.captions=[...] of"
        " each class, conditioner=text, task"
    )
    assert about(of("evaluation.clip_score", "ClipScore", captions=["a"]), "samples", "metrics") == []
    assert about(of("evaluation.adherence", "Avoidance", negative="red"), "samples", "metrics") == []
