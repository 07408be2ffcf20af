"""A sweep's page in a real headless Chromium: whole, silent, and no wider than a phone."""

import chromium


def test_it_is_whole_opens_and_fits_a_phone(swept):
    with chromium.opened(swept / "report.html", phone=True) as page:
        width = "[document.documentElement.scrollWidth, innerWidth]"
        assert page.value(width) == [360, 360]
        page.value("document.querySelectorAll('details').forEach(x => x.open = true)")
        assert page.value(width) == [360, 360]
        # What a row is set to stands in lines of words, not of letters.
        tall = (
            "Math.max(...[...document.querySelectorAll('td.set')]"
            ".map(x => x.getBoundingClientRect().height))"
        )
        assert page.value(tall) < 120
        names = page.accessible()
        assert all(name for role, name in names if role in ("image", "img", "table"))
        page.settle()
    assert page.errors == [] and page.requests == []
