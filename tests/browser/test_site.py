"""Clicks through the site, opened from the disk: links, search, dark mode, a phone's width."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTANT = (  # ten pages, by what their tab or section is called
    "which_method.html",
    "tutorials/own_reward.html",
    "tutorials/half_the_tokens.html",
    "tutorials/migration_forks.html",
    "howto/data.html",
    "reference/recipes/index.html",
    "reference/recipes/length_penalties.html",
    "reference/commands.html",
    "reference/api/authors.html",
    "explanation/formulas.html",
)
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: pip install 'leanthink[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder.as_uri()


@pytest.fixture
def phone(browser):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not seen: {what}")


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def click(browser, address):
    """Click the first link to an address in what is read, or in the navigation."""
    found = browser.execute_script(
        "const at = [...document.querySelectorAll('article a, nav a')].find(a => a.href === arguments[0]);"
        "if (at) at.click(); return Boolean(at)",
        address,
    )
    assert found, f"no link to {address} on {browser.current_url}"
    until(lambda: browser.current_url.partition("#")[0] == address.partition("#")[0], address)


def test_the_ten_most_important_pages_are_reached_by_clicks(browser, site):
    complaints(browser)
    for page in IMPORTANT:
        browser.get(f"{site}/index.html")
        click(browser, f"{site}/{page}")
        assert browser.execute_script("return document.querySelector('article h1').textContent.length") > 3
    assert complaints(browser) == []


def test_half_the_tokens_on_eight_gpus_is_one_click_away(browser, site):
    browser.get(f"{site}/index.html")
    click(browser, f"{site}/tutorials/half_the_tokens.html")
    shown = browser.execute_script("return document.querySelector('article').textContent")
    assert "leanthink train dler" in shown and "--gpus 8" in shown


def test_no_page_scrolls_sideways_on_a_phone(phone, site):
    for page in ("index.html", *IMPORTANT):
        phone.get(f"{site}/{page}")
        assert phone.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"], page


def test_the_search_answers_from_the_disk(browser, site):
    browser.get(f"{site}/index.html")
    time.sleep(1)
    browser.execute_script(
        "document.querySelector('[data-md-toggle=search]').click();"
        "const query = document.querySelector('.md-search__input'); query.focus(); query.value = 'sigmoid_length';"
        "query.dispatchEvent(new Event('keyup', {bubbles: true})); query.dispatchEvent(new Event('input'))"
    )
    links = "return [...document.querySelectorAll('.md-search-result__link')].map(one => one.href)"
    found = until(lambda: browser.execute_script(links), "an answer")
    assert any("reference/parts/rewards_whole.html" in one for one in found)


def test_dark_as_the_system_is(browser, site):
    colour = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(f"{site}/explanation/formulas.html")
        seen[scheme] = sum(map(int, browser.execute_script(colour)[4:-1].split(", ")))
    assert seen["light"] > 600 > 200 > seen["dark"]


def test_formulas_are_drawn(browser, site):
    browser.get(f"{site}/explanation/formulas.html")
    heights = browser.execute_script(
        "return [...document.querySelectorAll('math[display=block]')].map(one => one.getBoundingClientRect().height)"
    )
    assert len(heights) > 12 and min(heights) > 10
