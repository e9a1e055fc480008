"""The page of a folder of results, in headless Chromium."""

import os
import shutil

import pytest

from gradcheck.page.rendering import rendered
from gradcheck.reports.folder import PAGE
from tests.reports.pages import EVIL, swept, with_text_everywhere

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = "GRADCHECK_BROWSER"
"""The variable that, if it is set, forbids to leave these tests out."""
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

if CHROMIUM is None and REQUIRED not in os.environ:
    pytest.skip("there is no Chromium; apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api") if REQUIRED not in os.environ else None
if sync_api is None:
    from playwright import sync_api


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Draw a page of an honest sweep, of the misprint, and of one full of somebody's scripts."""
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "honest": swept(folder / "honest", "network", "--samples", "40"),
        "misprint": swept(folder / "misprint", "chain-misprint", "--samples", "200"),
    }
    made["evil"] = with_text_everywhere(made["misprint"], EVIL)
    paths = {}
    for name, contents in made.items():
        paths[name] = folder / name / PAGE
        paths[name].parent.mkdir(exist_ok=True)
        paths[name].write_text(rendered(contents, folder / name)[PAGE])
    return paths


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, pages):
    """Open a page; in the end, look at what it said and what it asked for."""
    contexts, said, asked = [], [], []

    def open_page(name, viewport=DESK, **settings):
        context = browser.new_context(viewport=viewport, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == len(contexts)


def column(page, table, place):
    return page.locator(f"#{table} tbody tr:visible td:nth-child({place})").all_inner_texts()


@pytest.mark.parametrize("name", ["honest", "misprint", "evil"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_loads_without_a_word_and_asks_for_nothing(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    assert page.locator("h1").count() == 1
    assert page.locator("svg").count() == 4


def test_a_request_outward_and_a_word_on_the_console_would_be_seen(browser, pages, tmp_path):
    text = (
        pages["honest"]
        .read_text()
        .replace("</body>", "<img src='http://localhost:9/x.png'><script>missing()</script></body>")
    )
    (tmp_path / PAGE).write_text(text)
    said, asked = [], []
    page = browser.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / PAGE).as_uri())
    page.close()
    assert "missing is not defined" in said[0]
    assert "http://localhost:9/x.png" in asked


@pytest.mark.parametrize("name", ["honest", "misprint", "evil"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_overflows(opened, name, viewport):
    page = opened(name, viewport)
    width = viewport["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        """width => [...document.body.querySelectorAll("*")].filter(element => {
            const box = element.getBoundingClientRect();
            return box.right > width + 1 && !element.closest(".scroll, pre, .skip");
        }).map(element => element.outerHTML.slice(0, 80))""",
        width,
    )
    assert beyond == []


def test_every_drawing_keeps_its_texts_within_it(opened):
    page = opened("misprint")
    outside = page.evaluate(
        """() => [...document.querySelectorAll("svg text")].filter(text => {
            const box = text.getBoundingClientRect();
            const all = text.closest("svg").getBoundingClientRect();
            return box.left < all.left - 1 || box.right > all.right + 1
                || box.top < all.top - 1 || box.bottom > all.bottom + 1;
        }).map(text => text.textContent)"""
    )
    assert outside == []


def test_a_table_sorts_by_numbers_and_by_words_up_and_down(opened):
    page = opened("misprint")
    head = page.locator("#summary th", has_text="max ulps")
    place = [text.strip() for text in page.locator("#summary th").all_inner_texts()]
    place = place.index("max ulps") + 1
    numbers = [float(text.replace(",", "")) for text in column(page, "summary", place)]
    assert numbers != sorted(numbers)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(t.replace(",", "")) for t in column(page, "summary", place)] == sorted(numbers)
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    found = [float(t.replace(",", "")) for t in column(page, "summary", place)]
    assert found == sorted(numbers, reverse=True)
    words = column(page, "summary", 3)
    page.locator("#summary th", has_text="gradient").get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert column(page, "summary", 3) == sorted(words)


def test_a_search_leaves_the_rows_that_hold_every_word(opened):
    page = opened("misprint")
    rows = len(column(page, "summary", 1))
    page.get_by_label("Find").first.fill("FLOAT32 beta1")
    assert set(column(page, "summary", 3)) == {"beta1"}
    assert set(column(page, "summary", 2)) == {"float32"}
    told = page.locator("#summary").locator("xpath=../preceding-sibling::div[1]//output")
    assert told.inner_text() == f"{len(column(page, 'summary', 1))} of {rows} rows"
    page.get_by_label("Find").first.fill("")
    assert len(column(page, "summary", 1)) == rows


def test_the_keyboard_reaches_every_node_which_then_tells_its_values(opened):
    page = opened("misprint")
    nodes = page.locator(".graph .node").count()
    assert nodes == 8 + 7 + 8
    reached = []
    for _ in range(nodes + 20):
        page.keyboard.press("Tab")
        label = page.evaluate("document.activeElement.closest('.node')?.getAttribute('aria-label')")
        if label:
            reached.append(label)
            assert page.locator("#details").inner_text().strip() == label.strip()
            width = "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
            assert page.evaluate(width) == "4px"
    assert len(reached) == nodes
    (wrong,) = (label for label in reached if label.startswith("∂ℓ/∂beta1\n"))
    assert "truth" in wrong
    assert "comparisons disagree" in wrong


def test_without_scripts_everything_is_there_to_read(opened):
    page = opened("misprint", java_script_enabled=False)
    assert page.locator("#summary tbody tr").first.is_visible()
    assert not page.get_by_label("Find").first.is_visible()
    assert page.locator(".graph .node title").count() == 8 + 7 + 8


CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const shown = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        const node = element.closest(".node");
        if (element.classList.contains("marked"))
            return shown(getComputedStyle(element.previousElementSibling).fill);
        if (node && element.tagName === "text")
            return shown(getComputedStyle(node.querySelector("rect")).fill);
        for (let e = element; e; e = e.parentElement) {
            const found = shown(getComputedStyle(e).backgroundColor);
            if (found[3] === 255) return found;
        }
        return [255, 255, 255];
    };
    const told = [];
    const texts = "h1,h2,h3,p,td,th,dt,dd,a,li,pre,.graph text,.details";
    for (const element of document.querySelectorAll(texts)) {
        if (!element.textContent.trim() || element.closest(".skip")) continue;
        const style = getComputedStyle(element);
        const front = shown(element.tagName === "text" ? style.fill : style.color);
        const [high, low] = [light(front), light(behind(element))].sort((a, b) => b - a);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < 4.5) told.push([contrast, element.outerHTML.slice(0, 80)]);
    }
    return told;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(opened, scheme):
    page = opened("misprint", color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    page.evaluate("document.body.style.color = '#999'; document.body.style.background = '#888'")
    assert page.evaluate(CONTRAST) != []  # it would show


def test_it_prints_on_paper(opened, tmp_path):
    page = opened("misprint", color_scheme="dark")
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
    page.emulate_media(media="print")
    assert page.locator(".verdict").is_visible()
    assert not page.get_by_label("Find").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
