"""The pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from service.api import bind, create_app, url
from service.library import Library
from tests.test_web import EVIL

pytestmark = pytest.mark.model

FLAGSHIP = "how do AGEs affect bone quality?"
LIMPETS = "why do limpets lose their grip in warm water?"
KRAKEN = "what do krakens eat?"
UNKNOWN = "how are interest rates set by central banks?"
SEED = Path(__file__).parents[1] / "data" / "PMC12898183.md"
TIMEOUT_MS = 10_000
NARROW = 320

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        said = "there is no chromium to open the pages in: apt-get install chromium"
        if os.environ.get("LOCCIT_REQUIRE_ALL"):
            pytest.fail(said)
        pytest.skip(said)
    with sync_playwright() as playwright:
        # A sandbox of its own needs rights that root in a container has not.
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(corpus: Path, tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Library]:
    """An index of the invented papers, the seed record, and a paper that would run scripts."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "evil.md").write_text(EVIL, encoding="utf-8")
    assert not build([corpus, SEED, folder / "evil.md"], folder / "index", embedder, BuildConfig()).failed
    library = Library.open(folder / "index", load=lambda name: embedder)
    yield library
    library.close()


@pytest.fixture(scope="module")
def address(opened: Library) -> Iterator[str]:
    """Where the service answers."""
    listener = bind("127.0.0.1", 0)
    app = create_app(opened, url(listener))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield url(listener)
    server.should_exit = True
    thread.join(20)
    listener.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """Opens pages; fails at the end if one ran what it should not, said an error, or asked for anything elsewhere."""
    faults: list[str] = []
    contexts: list[BrowserContext] = []

    def route(asked: Route) -> None:
        if asked.request.url.startswith(f"{address}/"):
            asked.continue_()
        else:
            faults.append(f"asked for {asked.request.url}")
            asked.abort()

    def open_one(path: str, *, script: bool = True, scheme: str = "light", width: int = 1100) -> Page:
        context = browser.new_context(
            java_script_enabled=script,
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": 800},
        )
        context.set_default_timeout(TIMEOUT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        context.route("**/*", route)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(f"{said.type} on the console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        reply = page.goto(address + path)
        assert reply is not None
        assert reply.ok
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not faults


def words(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def reader(library: Library, question: str) -> str:
    """The path of the page that shows the best passage, or what it is quoted with."""
    answer = library.ask(question)
    return (answer.quotes or answer.hits)[0].citation.links.reader


@pytest.mark.parametrize("script", [True, False])
def test_the_first_citation_of_an_answer_opens_at_its_words(open_page: Open, opened: Library, script: bool) -> None:
    page = open_page("/", script=script)
    page.get_by_label("A question, or what to look for").fill(FLAGSHIP)
    page.get_by_role("button", name="Ask").click()
    expect(page).to_have_title(re.compile(f"^{re.escape(FLAGSHIP)} — "))
    quoted = words(page.locator("#quote-1 blockquote").inner_text())
    assert quoted == words(opened.ask(FLAGSHIP).quotes[0].text)
    page.locator("#quote-1 a.place").click()
    page.wait_for_url("**/papers/*#cited")
    assert words(" ".join(page.locator("mark").all_inner_texts())) == quoted
    expect(page.locator("#cited")).to_be_in_viewport()


@pytest.mark.parametrize("script", [True, False])
def test_a_place_far_down_is_scrolled_to(open_page: Open, opened: Library, script: bool) -> None:
    page = open_page(reader(opened, LIMPETS), script=script, width=NARROW)
    expect(page.locator("#cited")).to_be_in_viewport()
    expect(page.locator("h1")).not_to_be_in_viewport()


def test_what_papers_say_runs_nothing(open_page: Open, opened: Library, address: str) -> None:
    page = open_page("/")
    for path in ("/papers", f"/?q={KRAKEN}", reader(opened, KRAKEN)):
        page.goto(address + path)
        expect(page.locator("main")).to_be_visible()
        assert page.locator("script").count() == 1
        assert page.locator("main :is(img, iframe, style, svg, [onclick], [onerror], [style])").count() == 0
    expect(page.locator("#cited")).to_have_text("Text after the broken table says that krakens eat whales.")
    for each in page.locator("h1, article p, article td, article a:not([rel])").all():
        each.dispatch_event("click")
        each.dispatch_event("mouseover")
    assert page.url.startswith(address)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(open_page: Open, opened: Library, address: str, scheme: str) -> None:
    page = open_page("/", scheme=scheme)
    for path in (
        "/",
        f"/?q={FLAGSHIP}&year_from=2000",
        f"/?q={LIMPETS}",
        f"/?q={UNKNOWN}",
        reader(opened, LIMPETS),
        reader(opened, KRAKEN),
        "/papers",
    ):
        page.goto(address + path)
        found = Axe().run(page).response["violations"]
        serious = {each["id"]: each["nodes"] for each in found if each["impact"] in ("serious", "critical")}
        assert not serious, path


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page("/")
    focused = page.locator(":focus")
    expect(focused).to_have_id("q")
    page.keyboard.type(FLAGSHIP)
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=*")
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Skip to the content")
    expect(focused).to_be_in_viewport()
    expect(focused).to_have_css("outline-style", "solid")
    page.keyboard.press("Enter")
    expect(focused).to_have_id("main")
    for key, at in (("j", "quote-1"), ("j", "quote-2"), ("k", "quote-1"), ("k", "quote-1"), ("/", "q")):
        page.keyboard.press(key)
        expect(focused).to_have_id(at)
    page.keyboard.type("j/k")
    expect(focused).to_have_value("j/k")
    page.locator("#quote-1").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/papers/*#cited")


@pytest.mark.parametrize("script", [True, False])
def test_the_count_is_in_the_title_that_screen_readers_say(open_page: Open, opened: Library, script: bool) -> None:
    page = open_page(f"/?q={FLAGSHIP}", script=script)
    answer = opened.ask(FLAGSHIP)
    count = f"{len(answer.quotes)} quotes, {len(answer.hits)} passages"
    expect(page).to_have_title(f"{FLAGSHIP} — {count} — loccit")
    expect(page.get_by_role("status").filter(has_text=count)).to_be_visible()
    page.get_by_role("link", name="More passages").click()
    first = len(answer.hits) + 1
    expect(page).to_have_title(re.compile(f"^{re.escape(FLAGSHIP)} — passages {first} to "))


def test_a_citation_is_copied(open_page: Open, opened: Library) -> None:
    page = open_page(reader(opened, FLAGSHIP))
    page.get_by_role("button", name="Copy BibTeX").click()
    expect(page.locator("#copied")).to_have_text("BibTeX copied")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("@article{pang2026osteoporosis,")
    assert copied == page.locator("#export-1").text_content()


def test_without_scripts_a_citation_is_there_to_be_selected(open_page: Open, opened: Library) -> None:
    page = open_page(reader(opened, FLAGSHIP), script=False)
    expect(page.locator(".copy")).to_be_hidden()
    expect(page.locator("#export-2")).to_be_hidden()
    page.locator("summary", has_text="RIS").click()
    expect(page.locator("#export-2")).to_contain_text("TY - JOUR")


def test_nothing_is_wider_than_a_narrow_screen(open_page: Open, opened: Library, address: str) -> None:
    page = open_page("/", width=NARROW)
    for path in ("/", f"/?q={FLAGSHIP}&section=abstract", "/papers", reader(opened, LIMPETS), reader(opened, KRAKEN)):
        page.goto(address + path)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW, path


def test_a_printed_page_names_its_places(open_page: Open, address: str) -> None:
    page = open_page(f"/?q={FLAGSHIP}")
    page.emulate_media(media="print")
    expect(page.locator("form.search")).to_be_hidden()
    printed = page.locator("#quote-1 a.place").evaluate("it => getComputedStyle(it, '::after').content")
    assert f"{address}/papers/PMC12898183?start=" in printed
