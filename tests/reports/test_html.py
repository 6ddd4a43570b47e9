import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from condiff.reports import html
from condiff.reports.curves import Curve, Series, loss_curves
from condiff.reports.grid import grid
from condiff.reports.html import config_text, data_uri, page, render
from condiff.reports.report import Figure, Guided, Panel, Report, Scale, StageRow

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>x</script>",
    "</title><svg onload=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    '<iframe srcdoc="<script>x</script>">',
    "]]><!--<script>",
    "&lt;script&gt;",
    '<meta http-equiv="refresh" content="0;url=http://x">',
]
TAGS = (
    "html head meta title style body main header section h1 h2 h3 p pre code dl div dt dd figure figcaption "
    "img table thead tbody tr th td b span ul li details summary svg g path text circle"
)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, their attributes and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def picture(size: int = 8) -> Image.Image:
    return grid(np.random.default_rng(0).integers(0, 256, (4, size, size), dtype=np.uint8), 2)


def report(word: str = "word") -> Report:
    points = [(0.0, 1.0), (1.0, 0.5)]
    return Report(
        name=word,
        question=word,
        command=word,
        guidance=Guided(word, [Scale([2.0])]),
        stages=[StageRow(word, word, "run", word, 12.3), StageRow("data", "3f2a9c", "cached", "", 0.0)],
        metrics={
            word: {"value": 6.0, "n": 500, "protocol": word, "interval": [5.0, 7.0]},
            f"{word}_floor": {"value": 2.5, "n": 500, "protocol": word, "interval": None},
        },
        pictures=[Figure(word, word, [Panel(word, picture()), Panel(word, picture(4))])],
        curves=[Curve(word, word, [Series(word, points), Series(word, points)], word, word)],
        config={word: {word: [word, {word: word}], "n": 1}},
        environment={word: {word: word}, "git commit": word},
        notes=[word],
    )


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_never_becomes_markup(payload):
    shown, plain = Page(render(report(payload))), Page(render(report()))
    assert [tag for tag, _ in shown.elements] == [tag for tag, _ in plain.elements]
    assert [set(attributes) for _, attributes in shown.elements] == [set(a) for _, a in plain.elements]
    assert payload in shown.text


def test_a_page_has_only_the_elements_and_addresses_it_needs():
    for tag, attributes in Page(render(report('" onload="x'))).elements:
        assert tag in TAGS.split()
        assert not [
            name for name in attributes if name.startswith("on") or name in {"href", "action", "srcdoc"}
        ]
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_a_page_needs_no_network_and_no_script():
    source = render(report())
    policy = [
        a["content"] for _, a in Page(source).elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert not re.search(r"https?://|@import|url\(|<script|<link", source)


def test_no_secret_reaches_the_page():
    canary = "hunter2xyz"
    assert canary not in render(report(f"a.api_key={canary} https://u:{canary}@host/x"))
    nested = {"logger": {"api_key": canary, "urls": [f"https://u:{canary}@h"]}, "token": canary}
    page_of = Report("s", "q", "c", Guided("g"), [], {}, config=nested, environment=nested)
    assert canary not in render(page_of)


def test_a_floor_of_few_pictures_is_the_floor_all_the_same():
    def entry(value, n):
        return {"value": value, "n": n, "protocol": "", "interval": None}

    metrics = {
        "fd_biased_n100": entry(30.0, 100),
        "fd_biased_n180_floor": entry(10.0, 180),
        "kid": entry(1, 9),
    }
    assert html._context("fd_biased_n100", metrics) == [
        "n = 100",
        "3 × what real pictures have, 10 (n = 180)",
    ]
    assert html._context("kid", metrics) == ["n = 9"]
    far = {**metrics, "fd_biased_n100": entry(2024.0, 100)}
    assert html._context("fd_biased_n100", far)[1] == "200 × what real pictures have, 10 (n = 180)"


def test_metrics_stand_beside_the_floor_of_real_data():
    text = Page(render(report("fd"))).text
    assert "2.4 × what real pictures have, 2.5" in text
    assert "[5, 7]" in text
    assert "n = 500" in text


def test_guidance_is_told_in_both_conventions():
    assert Guided("ClassifierFree", [Scale([1.1])]).strength() == "s = 1.1, w = s − 1 = 0.1"
    assert "s = 2, w = s − 1 = 1" in Page(render(report())).text
    led = replace(report(), guidance=Guided("ClassifierFree", [Scale([2.0])], ["<b>", "grey"]))
    assert "away from '<b>', 'grey'" in Page(render(led)).text
    assert (Guided("Unguided").shown(), Guided("Unguided").strength()) == ("–", "")


def test_a_scale_on_its_way_is_told_by_its_ends_and_several_by_their_names():
    way = Guided("ScheduledScale", [Scale([1.0, 2.5, 4.0], course="cosine")])
    assert (way.shown(), way.strength()) == ("1 to 4", "s = 1 to 4 (cosine), w = s − 1 = 0 to 3")
    assert Scale([2.0], course="constant").strength() == "s = 2 (constant), w = s − 1 = 1"
    two = Guided("TextAndImage", [Scale([7.5], "text scale"), Scale([1.5, -1.0], "scales")])
    assert (two.shown(), two.strength()) == ("7.5; 1.5, -1", "text scale 7.5; scales 1.5, -1")


def test_pictures_are_whole_and_neighbours_keep_one_scale():
    elements = Page(render(report())).elements
    shown = [a for tag, a in elements if tag == "img"]
    panels = [a["style"] for _, a in elements if a.get("class") == "panel"]
    assert len(shown) == len(panels) == 2
    for attributes, style, original in zip(shown, panels, [picture(), picture(4)], strict=True):
        bytes_of = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(bytes_of)).tobytes() == original.tobytes()
        assert (attributes["width"], attributes["height"]) == tuple(map(str, original.size))
        assert style.startswith(f"flex:{original.width} 1 0;")
        assert style.endswith(f"--share:{original.width / picture().width:.4f}")


def test_an_empty_report_is_a_page_without_empty_sections():
    bare = Page(render(Report("s", "why?", "run", Guided("Unguided"), [], {})))
    assert "h2" not in [tag for tag, _ in bare.elements]
    assert "why?" in bare.text


def test_a_title_cannot_leave_its_element():
    assert Page(page("</title><script>x</script>", "")).elements[-1][0] == "main"


def test_the_config_is_shown_as_yaml_that_means_the_same():
    config = {
        "scale": 2.0,
        "path": None,
        "on": True,
        "text": "yes",
        "odd": "a: b # c\nd",
        "dots": "condiff.diffusion.guidance.ClassifierFree",
        "empty": {},
        "betas": [0.9, 0.99],
        "nested": {"deep": {"list": [{"a": 1}, "x y", "- x"], "1": "1e3"}},
        "number": "007",
        "tilde": "~",
    }
    assert yaml.safe_load(config_text(config)) == config


def test_a_run_of_500_samples_fits_in_one_and_a_half_megabytes():
    rng = np.random.default_rng(0)
    digits = rng.integers(0, 256, (500, 28, 28), dtype=np.uint8) * (rng.random((500, 28, 28)) < 0.25)
    sheet = grid(digits, 50, [str(k) for k in range(10)], scale=2)
    rows = [{"stage": s, "step": k, "loss": rng.random()} for s in "abc" for k in range(10_000)]
    full = Report(
        "s",
        "q",
        "c",
        Guided("g", [Scale([2.0])]),
        [],
        {},
        [Figure("f", "", [Panel("p", sheet)])],
        loss_curves(rows),
    )
    assert len(render(full).encode()) < 1_500_000


def test_reports_are_quick_to_import():
    code = "import sys, condiff.reports.html; print({'torch', 'matplotlib', 'lightning'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_a_picture_in_an_address_is_the_picture():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    back = Image.open(io.BytesIO(base64.b64decode(data_uri(image).partition(",")[2])))
    assert back.tobytes() == image.tobytes()
