"""Clicks through the live view and the report in a real headless Chromium."""

from __future__ import annotations

import time

import made_runs
from leanthink.cli import main
from watching_server import watched


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (value := condition()) or value == 0:
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def all_of(browser, selector):
    return browser.find_elements("css selector", selector)


def text(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def texts(browser, selector):
    """All at once: the page may replace its elements between two questions."""
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)", selector
    )


def choose(browser, identity, value):
    browser.execute_script(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        identity,
        value,
    )


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser") if "favicon" not in entry["message"]]


def test_watch(browser, tmp_path):
    run = made_runs.write_run(tmp_path / "run", "short", 1, quality=0.7, tokens=20, questions=40)
    summary = (run / "summary.json").read_text()
    (run / "summary.json").unlink()
    with watched(run) as (address, token):
        browser.get(f"{address}/?{token}")
        until(lambda: all_of(browser, "#curves svg") and len(all_of(browser, "article")) == 50)
        assert text(browser, "#progress") == "step 12, not finished"
        marks = texts(browser, "#curves svg text.mark")  # round: 0, 20, 40, never 75.781
        assert len(marks) > 6 and all(len(mark.strip("-0.").replace(".", "")) <= 2 for mark in marks), marks
        assert text(browser, "#count") == "50 of 80 responses"
        assert made_runs.SCRIPT in text(browser, "article pre")  # shown as text,
        assert browser.title == "leanthink watch"  # and never run
        browser.find_element("id", "more").click()
        until(lambda: len(all_of(browser, "article")) == 80)
        choose(browser, "verdict", "wrong")
        until(lambda: all_of(browser, "article") and not all_of(browser, "article.right"))
        choose(browser, "difficulty", "3")
        until(lambda: all("difficulty 3" in one for one in texts(browser, "article .note:first-child")))
        (run / "summary.json").write_text(summary)
        (run / "validation" / "13.jsonl").write_text((run / "validation" / "12.jsonl").read_text())
        until(lambda: text(browser, "#progress") == "step 12, finished")  # follows without a reload
        until(lambda: browser.execute_script("return document.getElementById('step').value") == "13")
        choose(browser, "step", "0")
        until(lambda: not browser.execute_script("return document.getElementById('follow').checked"))
        assert text(browser, "#error") == ""
        assert complaints(browser) == []
        browser.get("about:blank")
        browser.get_log("browser")


def test_report(browser, tmp_path):
    made_runs.write_sweep(tmp_path / "sweep")
    assert main(["report", str(tmp_path / "sweep"), "--out", str(tmp_path / "out")]) == 0
    browser.get((tmp_path / "out" / "report.html").as_uri())
    pictures = all_of(browser, "img")
    assert len(pictures) == len(list((tmp_path / "out").glob("*.png"))) >= 5
    assert all(browser.execute_script("return arguments[0].naturalWidth > 0", one) for one in pictures)
    requested = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert all(one.startswith("data:") for one in requested)
    for link in all_of(browser, "nav a"):
        link.click()
        assert all_of(browser, browser.execute_script("return location.hash"))
    first = all_of(browser, "details")[0]
    for shown in (False, True):
        first.find_element("css selector", "summary").click()
        assert first.find_element("css selector", "img").is_displayed() is shown
    assert complaints(browser) == []
