"""The page in a real headless Chromium: it works, asks for nothing, and fits a phone."""

import chromium
import pytest
from evaluated_runs import REPORT_PARTS

_TABBED = """[...document.querySelectorAll("a[href], input, select, summary, [tabindex='0']")]
.filter(x => x.checkVisibility()).map(x => x.id || x.textContent.trim().slice(0, 30))"""
_FOCUSED = (
    """(x => x.id || x.textContent.trim().slice(0, 30))(document.activeElement)"""
)


@pytest.fixture(scope="module")
def page(written):
    with chromium.opened(written / "report.html") as page:
        yield page


def type_in(page, words):
    page.value("document.getElementById('search').focus()")
    for key in words:
        page.press(key)


def clear(page):
    page.value(
        "document.getElementById('search').value = '',"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )


def shown(page):
    return page.value(
        "[...document.querySelectorAll('.sample')].filter(x => x.checkVisibility())"
        ".map(x => x.querySelector('h3').textContent)"
    )


def test_it_is_whole_and_runs_no_other_script(page):
    names = page.value("[...document.querySelectorAll('section')].map(x => x.id)")
    assert names == list(REPORT_PARTS)
    assert page.value("document.title") == "Policies compared on desk"  # not "taken"
    assert (
        page.value("document.querySelectorAll('img, iframe, script[src]').length") == 0
    )
    page.settle()
    assert page.errors == [] and page.requests == []
    # What a text could ask for is refused even if it were no text.
    page.value(
        "document.body.append(Object.assign(new Image(), {src: 'http://x.test/'}))"
    )
    page.settle()
    (refusal,) = page.errors
    assert "Content Security Policy" in refusal["text"]
    page.errors.clear(), page.requests.clear()


def test_search_filter_and_order(page):
    assert len(shown(page)) == 12
    type_in(page, "bell case 6")
    assert shown(page) == ["Prompt 7"]
    status = "document.getElementById('count').textContent"
    assert page.value(status) == "1 of 12 prompts"
    assert page.value("CSS.highlights.get('found').size") >= 3
    type_in(page, "qq")
    assert shown(page) == []
    assert page.value("document.getElementById('nothing').checkVisibility()")
    clear(page)
    change = (
        "(([name, value]) => { const x = document.getElementById(name); x.value = value;"
        "x.dispatchEvent(new Event('change')); })"
    )
    page.value(f"{change}(['order', 'spread'])")
    spreads = page.value(
        "[...document.querySelectorAll('.sample')].map(x => Number(x.dataset.spread))"
    )
    assert spreads == sorted(spreads, reverse=True) and spreads[0] > spreads[-1]
    page.value(f"{change}(['filter', 'cut'])")
    cut = page.value("document.querySelectorAll('.sample[data-cut]').length")
    assert 0 < len(shown(page)) == cut < 12
    page.value(f"{change}(['filter', 'all']), {change}(['order', 'given'])")
    assert shown(page) == [f"Prompt {n}" for n in range(1, 13)]


def test_the_keyboard_reaches_all_in_order(page):
    page.value("document.activeElement.blur(), scrollTo(0, 0)")
    wanted = page.value(_TABBED)
    assert wanted[:2] == ["Skip to the report", "Summary"] and "search" in wanted
    reached = []
    page.load()
    for _ in wanted:
        page.press("Tab")
        reached.append(page.value(_FOCUSED))
        seen = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.value(seen) != "none", reached[-1]
    assert reached == wanted


def test_a_screen_reader_finds_names(page):
    found = page.accessible()
    roles = {}
    for role, name in found:
        roles.setdefault(role, []).append(name)
    assert {"banner", "navigation", "main", "contentinfo", "status"} <= roles.keys()
    assert {"search", "Samples"} & {*roles, *roles["search"]}
    assert roles["searchbox"] == ["Search"] and roles["combobox"] == ["Show", "Order"]
    images = [name for role in ("image", "img") for name in roles.get(role, [])]
    assert "reward against KL to the reference" in images and all(images)
    assert all(roles["table"]) and roles["rowheader"][0] == "reference"


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out(page, dark):
    """WCAG AA: 4.5 to 1, of the run's colours too, which label figures."""
    page.set_dark(dark)
    names = ["ink", "soft", "accent", *(f"run-{n}" for n in range(8))]
    style = "getComputedStyle(document.documentElement).getPropertyValue('--{}')"
    colours = {
        name: page.value(style.format(name))
        for name in (*names, "page", "panel", "tint")
    }
    assert (luminance(colours["page"]) < 0.1) == dark
    for name in names:
        grounds = ("page",) if name.startswith("run") else ("page", "panel", "tint")
        for ground in grounds:
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    text = "getComputedStyle(document.querySelector('.plot text')).fill"
    red = int(page.value(text).partition("(")[2].partition(",")[0])
    assert (red > 128) == dark
    page.set_dark(False)


def test_it_fits_a_phone(written):
    with chromium.opened(written / "report.html", phone=True) as page:
        width = "[document.documentElement.scrollWidth, innerWidth]"
        assert page.value(width) == [360, 360]
        page.value("document.querySelectorAll('details').forEach(x => x.open = true)")
        assert page.value(width) == [360, 360]
    assert page.errors == []


def test_on_paper_all_is_open_and_light(written):
    with chromium.opened(written / "report.html", dark=True) as page:
        page.set_dark(True, media="print")
        closed = "[...document.querySelectorAll('details')].filter(x => !x.open).length"
        assert page.value(closed) > 0
        # A browser lays out what was closed a moment later.
        page.wait(
            "[...document.querySelectorAll('details > :not(summary)')]"
            ".every(x => x.checkVisibility() && x.getBoundingClientRect().height > 0)"
        )
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        assert page.value(ground) == "rgb(255, 255, 255)"
        ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink')"
        assert luminance(page.value(ink)) < 0.1


def luminance(colour):
    parts = [int(colour.strip()[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    parts = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
