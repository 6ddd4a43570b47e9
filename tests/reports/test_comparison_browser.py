"""The page of a comparison in a real browser: it sorts, lights, chooses and blinks, and its policy holds."""

import numpy as np
import pytest
from browser import Browser, chromium
from run_folders import config_of, leave, metrics_of, pictures

from condiff.stages.comparison import write_comparison

pytestmark = [pytest.mark.browser, pytest.mark.skipif(chromium() is None, reason="needs Chromium")]
NUMBERS = {1.0: (0.90, 5.0), 2.0: (0.99, 10.0), 3.0: (0.98, 2.4)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def page(browser, tmp_path):
    """Three settings; samples of scale s are all of brightness 50 s, and fewer of them miss as s grows."""
    jobs = [(scale, seed) for scale in NUMBERS for seed in (0, 1)]
    folders = [
        leave(
            tmp_path / str(place),
            config_of(scale, seed),
            metrics_of(*NUMBERS[scale]),
            (f"guidance.scale={scale}",),
            pictures(int(50 * scale) + seed),
            values={"class_accuracy": np.arange(100) >= 40 - 10 * scale - 3 * seed * (scale - 1)},
        )
        for place, (scale, seed) in enumerate(jobs)
    ]
    path = write_comparison(folders, tmp_path / "out", "study", "why?", "python run.py")
    assert path is not None
    browser.complaints.clear()
    browser.open(path)
    return browser


COLUMN = "[...document.querySelector('table.runs').tBodies[0].rows].map((row) => row.cells[0].dataset.value)"
HEADS = "document.querySelectorAll('table.runs')[0].querySelectorAll('th button')"
MIDDLE = """(() => {
  const canvas = document.querySelector("#blink canvas");
  return canvas.getContext("2d").getImageData(20, 20, 1, 1).data[0];
})()"""


def test_nothing_on_the_page_breaks_its_policy(page):
    assert page.run("document.documentElement.classList.contains('scripted')")
    assert page.complaints == []


def test_another_script_is_not_run(page):
    page.run("""(() => {
      const script = document.createElement("script");
      script.textContent = "window.intruder = 1";
      document.body.append(script);
    })()""")
    assert page.run("window.intruder ?? 'none'") == "none"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)


def test_a_click_on_a_head_sorts_and_another_turns_the_order(page):
    assert page.run(COLUMN) == ["1.0", "2.0", "3.0"]
    page.run(f"{HEADS}[3].click()")  # fd_judge
    assert page.run(COLUMN) == ["3.0", "1.0", "2.0"]
    assert page.run("document.querySelectorAll('th[aria-sort=ascending]').length") == 1
    page.run(f"{HEADS}[3].click()")
    assert page.run(COLUMN) == ["2.0", "1.0", "3.0"]
    page.run(f"{HEADS}[0].click()")
    assert page.run(COLUMN) == ["1.0", "2.0", "3.0"]


def test_a_row_lights_its_points(page):
    lit = "[...document.querySelectorAll('svg .of.lit')].map((part) => part.getAttribute('class'))"
    assert page.run(lit) == []
    page.run("document.querySelector('tr[data-place=\"1\"]').dispatchEvent(new MouseEvent('mouseenter'))")
    found = page.run(lit)
    assert len(found) >= 3  # of each plot
    assert {*found} == {"of s1 lit"}
    faint = "getComputedStyle(document.querySelector('svg .of.s0')).opacity"
    assert float(page.run(f"new Promise((done) => setTimeout(() => done({faint}), 400))")) < 0.5
    page.run("document.querySelector('tr[data-place=\"1\"]').dispatchEvent(new MouseEvent('mouseleave'))")
    assert page.run(lit) == []


def test_the_slider_fades_from_one_setting_to_the_other(page):
    page.run("from.value = '0'; to.value = '2'; to.dispatchEvent(new Event('input'))")
    assert page.run(MIDDLE) == 50
    page.run("fade.value = 50; fade.dispatchEvent(new Event('input'))")
    assert page.run(MIDDLE) == pytest.approx(100, abs=2)
    page.run("fade.value = 100; fade.dispatchEvent(new Event('input'))")
    assert page.run(MIDDLE) == 150


def test_holding_the_picture_flips_it_and_letting_go_turns_back(page):
    page.run("from.value = '0'; to.value = '1'; to.dispatchEvent(new Event('input'))")
    page.run("canvas.dispatchEvent(new PointerEvent('pointerdown'))")
    assert page.run(MIDDLE) == 100
    page.run("dispatchEvent(new PointerEvent('pointerup'))")
    assert page.run(MIDDLE) == 50


def test_blinking_shows_both_in_turn(page):
    page.run("from.value = '0'; to.value = '2'; to.dispatchEvent(new Event('input'))")
    page.run("document.querySelector('#play').click()")
    seen = page.run(f"""new Promise((done) => {{
      const seen = new Set();
      const watch = setInterval(() => {{
        seen.add({MIDDLE});
        if (seen.size === 2) {{ clearInterval(watch); done([...seen].sort((a, b) => a - b)); }}
      }}, 50);
    }})""")
    assert seen == [50, 150]
    page.run("document.querySelector('#play').click()")
    assert page.run("blinking") is None
    assert page.run(MIDDLE) == 50


def test_another_noise_changes_the_grid_and_the_picture(page):
    page.run("seeds.value = '1'; seeds.dispatchEvent(new Event('change'))")
    assert page.run("document.querySelectorAll('.noise:not([hidden])').length") == 1
    page.run("from.value = '0'; from.dispatchEvent(new Event('input'))")
    assert page.run(MIDDLE) == 51


def test_a_setting_that_is_not_chosen_leaves_the_grid(page):
    of_this_noise = ".noise:not([hidden]) .column:not([hidden])"
    shown = f"[...document.querySelectorAll('{of_this_noise}')].map((column) => column.dataset.place)"
    assert page.run(shown) == ["0", "1", "2"]
    page.run("document.querySelectorAll('.chips input')[1].click()")
    assert page.run(shown) == ["0", "2"]


PAIRS = (
    "[...document.querySelectorAll('section')]"
    ".find((one) => one.querySelector('h2')?.textContent === 'Differences in pairs')"
)
ROWS = f"[...{PAIRS}.querySelector('.less:not([hidden]) table').tBodies[0].rows]"
TOLD = f"{ROWS}.map((row) => [0, 1].map((k) => row.cells[k].firstChild.textContent))"


def test_differences_in_pairs_are_means_over_seeds_less_the_best_by_distance(page):
    """Misses are 40 - 10 s - 3 (s - 1) of the second seed: less scale 3, -0.20 and -0.26, -0.10 and -0.13."""
    assert page.run(TOLD) == [["1", "−0.230"], ["2", "−0.115"]]
    assert page.run(f"{PAIRS}.querySelectorAll('.less:not([hidden])').length") == 1


def test_another_reference_shows_the_differences_from_it(page):
    shown = "[...document.querySelectorAll('.less:not([hidden]) .sum b')].map((name) => name.textContent)"
    assert page.run(shown) == ["scale 3"]
    page.run("reference.value = '0'; reference.dispatchEvent(new Event('change'))")
    assert page.run(shown) == ["scale 1"]
    assert page.run(TOLD) == [["2", "+0.115"], ["3", "+0.230"]]


def test_differences_in_pairs_are_sorted_by_a_click_and_light_their_setting(page):
    heads = f"{PAIRS}.querySelectorAll('.less:not([hidden]) th button')"
    page.run(f"{heads}[1].click(); {heads}[1].click()")
    assert page.run(f"{ROWS}.map((row) => Number(row.cells[1].dataset.value).toFixed(3))") == [
        "-0.115",
        "-0.230",
    ]
    page.run(f"{ROWS}[0].dispatchEvent(new MouseEvent('mouseenter'))")
    lit = "[...document.querySelectorAll('svg .of.lit')].map((part) => part.getAttribute('class'))"
    assert {*page.run(lit)} == {"of s1 lit"}
    page.run(f"{ROWS}[0].dispatchEvent(new MouseEvent('mouseleave'))")


def test_a_difference_that_is_told_apart_has_the_colour_of_better_or_worse(page):
    page.run("reference.value = '0'; reference.dispatchEvent(new Event('change'))")
    blue = "getComputedStyle(document.querySelector('.best b')).backgroundColor"
    better = f"getComputedStyle({ROWS}[0].cells[1].querySelector('b')).color"
    assert page.run(better) == page.run(blue) != page.run(f"getComputedStyle({ROWS}[0].cells[0]).color")


@pytest.fixture
def varied(browser, tmp_path):
    """Runs of different experiments with long names."""
    folders = []
    for k, (network, sampler) in enumerate((n, s) for n in ("unet", "diffusion_transformer") for s in "ab"):
        config = {**config_of(1.0 + k), "network": {"_target_": f"a.{network}", "widths": [32, 64, 128]}}
        config["sampler"] = {"_target_": f"a.A_sampler_of_{sampler * 3}_with_a_long_name", "steps": 16 + k}
        config["process"] = {"_target_": f"a.{'Variance' if k % 2 else 'Flow'}"}
        chosen = (f"network={network}",)
        folders.append(leave(tmp_path / str(k), config, metrics_of(0.9, 3.0 + k), chosen, pictures(k)))
    path = write_comparison(folders, tmp_path / "out", "varied", "why?", "python run.py")
    assert path is not None
    browser.complaints.clear()
    browser.open(path)
    return browser


def test_long_names_are_seen_whole_on_chips_and_above_the_pictures(varied):
    heads = "[...document.querySelectorAll('.column[data-place] .name')]"
    names = varied.run(f"{heads}.map((name) => name.textContent)")
    assert len({*names}) == len(names) == 4
    cut = f"{heads}.filter((name) => name.firstChild.scrollHeight > name.clientHeight + 1).length"
    assert varied.run(cut) == 0
    beside = f"{heads}.filter((name) => name.firstChild.scrollWidth > name.clientWidth + 1).length"
    assert varied.run(beside) == 0
    chips = "[...document.querySelectorAll('.chips label')]"
    assert varied.run(f"{chips}.filter((chip) => chip.scrollWidth > chip.clientWidth + 1).length") == 0
    assert {*varied.run(f"{chips}.map((chip) => chip.textContent)")} == {*names}
    assert varied.complaints == []
