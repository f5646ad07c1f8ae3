# SPDX-License-Identifier: MIT
"""The chat page in headless Chromium, with Playwright, on sputnik-nano. Environment: SPUTNIK, the program; CHROMIUM, the
browser (/usr/bin/chromium); SP_SCREENSHOTS, a folder for pictures of the page (none are taken otherwise).
    python -m pytest tests/clients/test_page.py"""

import json
import os
import re
import subprocess

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

from hostile_replies import HTML, MARKDOWN, MATHS
from page_server import Proxy, script
from serving import PROGRAM, Server

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SHOTS = os.environ.get("SP_SCREENSHOTS")
QUESTION = "What is 47 * 36?"
WAIT = 30000

pytestmark = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="no chromium")


@pytest.fixture(scope="module")
def sputnik():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def slow(sputnik):
    proxy = Proxy(sputnik.url)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A browser's profile on one server, and a watch over what must not happen."""

    def __init__(self, browser, url, **options):
        options = {"viewport": {"width": 1200, "height": 800}, "locale": "en-US", **options}
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.url, self.bad = url, []
        self.page.on("dialog", lambda dialog: (self.bad.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.bad.append(f"error {error}"))
        self.page.on("popup", lambda popup: self.bad.append(f"popup {popup.url}"))
        self.context.on("request", self.watch)
        self.open()

    def watch(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.bad.append(f"request {request.url}")

    def open(self):
        self.page.goto(self.url + "/")
        self.ready()

    def reload(self):
        self.page.reload()
        self.ready()

    def ready(self):
        self.page.wait_for_selector("body[data-ready]", timeout=WAIT)

    def send(self, text=QUESTION):
        self.page.fill("#input", text)
        self.page.keyboard.press("Enter")

    def done(self):
        expect(self.page.locator("#stop")).to_be_hidden(timeout=WAIT)
        expect(self.page.locator(".message.running")).to_have_count(0, timeout=WAIT)

    def ask(self, text=QUESTION):
        self.send(text)
        expect(self.page.locator(".message.assistant").last).to_be_visible(timeout=WAIT)
        self.done()
        return self.page.locator(".message.assistant").last

    def shoot(self, name):
        if SHOTS:
            self.page.screenshot(path=os.path.join(SHOTS, name + ".png"))

    def close(self):
        self.context.close()
        assert self.bad == []


@pytest.fixture
def visit(browser, slow):
    slow.reset()
    visit = Visit(browser, slow.url)
    yield visit
    visit.close()


def messages_of(proxy, index=-1):
    return proxy.requests[index][2]["messages"]


# --- talking ----------------------------------------------------------------------------------------------


def test_conversation_with_reasoning_on_the_server_itself(browser, sputnik):
    visit = Visit(browser, sputnik.url)
    reply = visit.ask()
    expect(reply.locator(".answer")).to_contain_text("1692")
    fold = reply.locator("details.reasoning")
    expect(fold).not_to_have_attribute("open", re.compile(".*"))
    expect(fold.locator("summary")).to_contain_text(re.compile(r"Thought for \d"))
    fold.locator("summary").click()
    expect(fold.locator(".thoughts")).to_contain_text("47")
    expect(reply.locator(".figures")).to_contain_text(re.compile(r"tokens/s · first after .* · \d+ tokens \(\d+ of them thinking\) · prompt \d+ \(\d+ cached\)"))
    expect(visit.page.locator("#model-name")).to_have_text("nano")
    expect(visit.page.locator("#conversations .conversation")).to_have_text(QUESTION)
    visit.shoot("conversation")
    visit.close()


def test_a_second_turn_sends_the_answers_and_not_the_reasoning(visit, slow):
    visit.ask()
    expect(visit.page.locator(".answer")).to_have_text("47 * 36 = 1692")
    visit.ask("Which is larger, 12 or 31?")
    messages = messages_of(slow)
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert "1692" in messages[1]["content"]
    assert all(set(m) == {"role", "content"} for m in messages)


def test_reasoning_is_open_while_it_streams(visit, slow):
    slow.delay = 0.03
    visit.send()
    fold = visit.page.locator("details.reasoning[open].now")
    expect(fold).to_be_visible(timeout=WAIT)
    expect(fold.locator(".clock")).to_have_text(re.compile(r"\d\.\d s"))
    visit.shoot("reasoning")
    visit.done()
    expect(visit.page.locator("details.reasoning[open]")).to_have_count(0)


def test_stop_reload_and_continue(visit, slow):
    slow.delay = 0.05
    visit.send()
    expect(visit.page.locator(".thoughts")).to_contain_text("4", timeout=WAIT)
    visit.page.wait_for_timeout(700)
    visit.page.keyboard.press("Escape")
    visit.done()
    reply = visit.page.locator(".message.assistant")
    expect(reply.locator(".trouble")).to_contain_text("Stopped")
    expect(reply.locator(".continue")).to_be_visible()
    visit.reload()
    expect(reply.locator(".continue")).to_be_visible()
    slow.delay = 0
    reply.locator(".continue").click()
    expect(reply.locator(".continue")).to_be_hidden(timeout=WAIT)
    visit.done()
    path, _, body = slow.requests[-1]
    assert path == "/beta/chat/completions"
    start = body["messages"][-1]
    assert start["role"] == "assistant" and start["prefix"] is True and start["content"] == "" and len(start["reasoning_content"]) > 3
    reply.locator("summary").click()
    thoughts = reply.locator(".thoughts").inner_text()
    assert re.sub(r"\W", "", thoughts).startswith(re.sub(r"\W", "", start["reasoning_content"]))


def test_reload_in_mid_reply_keeps_what_came(visit, slow):
    slow.delay = 0.02
    slow.answers = [script("One two three four five six seven. " * 20, size=5)]
    visit.send("Count.")
    expect(visit.page.locator(".answer")).to_contain_text("seven. One two", timeout=WAIT)
    visit.reload()
    answer = visit.page.locator(".answer")
    expect(answer).to_contain_text("seven. One two")
    kept = answer.inner_text()
    slow.delay = 0
    slow.answers = [script("AND THE REST")]
    visit.page.click(".continue")
    expect(answer).to_contain_text("AND THE REST", timeout=WAIT)
    visit.done()
    assert answer.inner_text().startswith(kept)
    assert messages_of(slow)[-1]["content"].strip() == kept.strip()


def test_other_answers_edits_and_branches(visit, slow):
    slow.answers = [script("first answer"), script("second answer"), script("answer to the edited")]
    visit.ask("question")
    page = visit.page
    page.click(".message.assistant button[aria-label='Another answer']")
    visit.done()
    expect(page.locator(".answer")).to_have_text("second answer")
    expect(page.locator(".message.assistant .place")).to_have_text("2/2")
    page.click(".message.assistant .previous")
    expect(page.locator(".answer")).to_have_text("first answer")
    page.hover(".message.user")
    page.click(".message.user button[aria-label='Edit']")
    page.fill(".editor textarea", "edited question")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_have_text("answer to the edited", timeout=WAIT)
    visit.done()
    assert [m["content"] for m in messages_of(slow)] == ["edited question"]
    expect(page.locator(".message.user .place")).to_have_text("2/2")
    page.click(".message.user .previous")
    expect(page.locator(".said")).to_have_text("question")
    expect(page.locator(".answer")).to_have_text("first answer")
    visit.reload()
    expect(page.locator(".answer")).to_have_text("first answer")
    visit.shoot("branches")


def test_markdown_code_and_mathematics(visit, slow):
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    slow.answers = [script("# Title\n\n*soft* **hard** $x^2$ costs $5 or $10\n\n$$\\frac{1}{2}$$\n\n```python\ndef f(x):\n    return 1\n```\n\n"
                           "| a | b |\n|---|--:|\n| 1 | 2 |\n\n1. one\n   - two\n\n[site](https://example.org/x)", size=3)]
    reply = visit.ask("show")
    expect(reply.locator(".answer h1")).to_have_text("Title")
    expect(reply.locator(".katex-display")).to_have_count(1)
    expect(reply.locator(".answer .katex")).to_have_count(2)
    expect(reply.locator(".answer")).to_contain_text("costs $5 or $10")
    expect(reply.locator(".hljs-keyword").first).to_have_text("def")
    expect(reply.locator("td[align=right]")).to_have_text("2")
    reply.locator(".copy-code").click()
    assert visit.page.evaluate("navigator.clipboard.readText()") == "def f(x):\n    return 1"
    link = reply.locator("a")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow" and link.get_attribute("target") == "_blank"
    expect(reply.locator(".link-target")).to_have_text(" (https://example.org/x)")
    visit.shoot("markdown")


# --- what models must not do ------------------------------------------------------------------------------

FORBIDDEN = """() => {
    const bad = [];
    for (const el of document.querySelectorAll("#messages .body *")) {
        const inMath = el.closest(".katex"), isIcon = el.closest("svg.icon"), name = el.localName;
        const its = [...el.attributes].map((a) => a.name);
        if (/^(script|style|link|meta|base|iframe|frame|frameset|object|embed|img|image|picture|source|video|audio|form|input|textarea|select|template|portal|dialog|noscript|foreignobject|animate|set|area|map)$/.test(name)) bad.push(name);
        if (/^(svg|use|math|path|g)$/.test(name) && !inMath && !isIcon) bad.push(name);
        if (name === "use" && !isIcon) bad.push(name);
        if (its.some((a) => /^on|^id$|^name$|srcdoc|formaction|ping|^src|^background|xlink/.test(a))) bad.push(name + " " + its);
        if (el.hasAttribute("style") && !inMath) bad.push(name + " style");
        if (/url\\(/i.test(el.getAttribute("style") || "")) bad.push("url " + el.getAttribute("style"));
        if (el.hasAttribute("href") && !isIcon) {
            const link = el.getAttribute("href"), url = new URL(link);
            if (!/^(https?|mailto):$/.test(url.protocol) || url.username || inMath) bad.push(link);
            const beside = el.nextElementSibling?.classList.contains("link-target") ? el.nextElementSibling.textContent : el.textContent;
            if (!beside.includes(url.host)) bad.push("hidden target " + link);
            if (el.target !== "_blank" || !/noopener/.test(el.rel)) bad.push("link " + link);
        }
        const box = el.getBoundingClientRect();
        if (getComputedStyle(el).position === "fixed" || box.width > 20000) bad.push("over " + el.className);
    }
    if (window.pwned) bad.push("pwned");
    if (document.getElementById("input").localName !== "textarea" || document.getElementById("settings").localName !== "dialog") bad.push("clobbered");
    if (document.forms.length !== 1) bad.push("forms " + document.forms.length);
    return bad;
}"""


@pytest.mark.parametrize("family", [HTML, MARKDOWN, MATHS], ids=["html", "markdown", "maths"])
def test_hostile_replies_do_nothing(visit, slow, family):
    page = visit.page
    for text in family:
        slow.answers = [script(f"before\n\n{text}\n\nafter {text} end", reasoning=text, size=max(9, len(text) // 8))]
        page.click("#new-chat")
        reply = visit.ask("say it")
        expect(reply.locator(".answer")).to_contain_text("before")
        reply.locator(".reasoning summary").click()
        page.wait_for_timeout(30)
        for element in reply.locator(".answer b, .answer u, .answer sub, .thoughts b").all()[:4]:
            element.dispatch_event("mouseover")
        assert page.evaluate(FORBIDDEN) == [], text
        assert visit.bad == [], text
    page.reload()  # what was kept is as harmless as what streamed
    visit.ready()
    assert page.evaluate(FORBIDDEN) == []


def test_the_sanitiser_alone_stops_raw_html(visit):
    """Raw HTML never reaches it in the page; it is to hold all the same."""
    for text in HTML + [f"<p>{html}</p>" for html in HTML]:
        visit.page.evaluate("""async (html) => {
            const { sanitize } = await import("/assets/render.js");
            const body = document.createElement("div");
            body.className = "body";
            body.append(sanitize(html));
            document.getElementById("messages").append(body);
        }""", text)
        visit.page.wait_for_timeout(5)
        assert visit.page.evaluate(FORBIDDEN) == [], text
        visit.page.evaluate("document.getElementById('messages').replaceChildren()")
    assert visit.bad == []


def test_without_libraries_text_is_plain(visit, slow):
    visit.context.route("**/assets/lib/**", lambda route: route.abort())
    visit.reload()
    text = "**bold** <img src=x onerror=alert(1)> $x$\n\n```\ncode\n```"
    slow.answers = [script(text)]
    reply = visit.ask("plain?")
    assert reply.locator(".answer").evaluate("el => el.textContent") == text
    assert reply.locator(".answer *").count() == 0


def test_names_and_titles_are_text(visit, slow):
    slow.answers = [script("ok")]
    visit.ask("<img src=x onerror=alert(1)>")
    expect(visit.page.locator("#title")).to_have_text("<img src=x onerror=alert(1)>")
    assert visit.page.locator("img").count() == 0


# --- the server says no -----------------------------------------------------------------------------------


def test_a_key_is_asked_for_and_sent(visit, slow):
    refusal = (401, {}, {"error": {"message": "invalid key", "type": "authentication_error"}})
    slow.answers = [refusal, script("welcome")]
    visit.send("hello")
    page = visit.page
    expect(page.locator(".trouble")).to_contain_text("asks for a valid API key", timeout=WAIT)
    page.click(".trouble >> text=Enter a key")
    expect(page.locator("#s-key")).to_be_focused()
    page.keyboard.type("sk-secret")
    page.keyboard.press("Escape")
    page.click(".retry")
    expect(page.locator(".answer")).to_have_text("welcome", timeout=WAIT)
    assert slow.requests[-1][1]["authorization"] == "Bearer sk-secret"
    visit.done()


def test_a_server_with_keys(browser, tmp_path):
    store = str(tmp_path / "keys.db")
    key = subprocess.run([PROGRAM, "keys", "add", "--store", store], check=True, capture_output=True, text=True).stdout.strip().splitlines()[0]
    with Server("--keys", store) as server:
        visit = Visit(browser, server.url)
        page = visit.page
        expect(page.locator("#banner")).to_contain_text("asks for a valid API key")
        page.click("#banner button")
        page.keyboard.type(key)
        page.keyboard.press("Escape")
        expect(page.locator("#banner")).to_be_hidden()
        expect(visit.ask().locator(".answer")).to_contain_text("1692")
        visit.reload()
        expect(page.locator("#model-name")).to_have_text("nano")
        visit.close()


def test_trouble_is_said_in_plain_words(visit, slow):
    page = visit.page
    slow.answers = [(429, {"Retry-After": "3"}, {"error": {"message": "queue full"}}), script("there it is")]
    visit.send("hello")
    expect(page.locator(".trouble")).to_contain_text("The server is busy. Try again in 3 s.", timeout=WAIT)
    visit.shoot("busy")
    page.click(".retry")
    expect(page.locator(".answer")).to_have_text("there it is", timeout=WAIT)
    slow.is_cut = True
    slow.answers = [script("half an ans")]
    visit.ask("more")
    expect(page.locator(".trouble").last).to_contain_text("the connection was lost")
    expect(page.locator(".answer").last).to_have_text("half an ans")
    expect(page.locator(".continue").last).to_be_visible()


def test_a_prompt_beyond_the_context_is_explained(visit):
    reply = visit.ask("word " * 3000)
    expect(reply.locator(".trouble")).to_contain_text("did not accept the request")
    expect(reply.locator(".trouble .detail")).not_to_be_empty()


# --- settings, files, conversations -----------------------------------------------------------------------


def test_settings_are_sent_and_kept(visit, slow):
    page = visit.page
    page.click("#open-settings")
    for name, value in {"system": "Be brief.", "budget": "64", "max_tokens": "99", "temperature": "0.5", "top_p": "0.9", "seed": "7", "stop": "END\nFIN"}.items():
        page.fill(f"#s-{name}", value)
    page.fill("#s-top_p", "7")
    expect(page.locator("#s-top_p")).to_have_attribute("aria-invalid", "true")
    page.fill("#s-top_p", "0.9")
    visit.shoot("settings")
    page.keyboard.press("Escape")
    visit.reload()
    slow.answers = [script("ok"), script("ok")]
    visit.ask()
    body = slow.requests[-1][2]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    wanted = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 99, "seed": 7, "stop": ["END", "FIN"], "thinking": {"type": "enabled", "budget_tokens": 64}}
    assert {name: body[name] for name in wanted} == wanted
    page.click("#think")
    visit.ask()
    assert slow.requests[-1][2]["thinking"] == {"type": "disabled"}


def test_thinking_switch_and_budget_on_the_model(visit):
    page = visit.page
    page.click("#think")
    expect(page.locator("#think")).to_have_attribute("aria-pressed", "false")
    expect(visit.ask().locator(".reasoning")).to_be_hidden()
    page.click("#think")
    page.click("#open-settings")
    page.fill("#s-budget", "8")
    page.keyboard.press("Escape")
    reply = visit.ask()
    found = re.search(r"\((\d+) of them thinking\)", reply.locator(".figures").inner_text())
    assert 0 < int(found.group(1)) <= 16


def test_text_files_go_along(visit, slow, tmp_path):
    note, binary, large = tmp_path / "note.py", tmp_path / "x.bin", tmp_path / "large.txt"
    note.write_text("print('```')\n")
    binary.write_bytes(b"\x00\xff\xfe")
    large.write_text("x" * 600000)
    page = visit.page
    page.set_input_files("#file", [note, binary, large])
    expect(page.locator(".chip")).to_have_text("note.py")
    expect(page.locator("#toast")).to_contain_text("large.txt is too large")
    slow.answers = [script("seen")]
    visit.ask("what is this?")
    assert messages_of(slow)[0]["content"] == "note.py:\n````py\nprint('```')\n````\n\nwhat is this?"
    expect(page.locator(".attached summary")).to_have_text("note.py")
    expect(page.locator(".chip")).to_have_count(0)


def test_conversations_are_kept_found_renamed_exported_and_deleted(visit, slow, tmp_path):
    page = visit.page
    for word in ("apple", "banana"):
        slow.answers = [script(f"about the {word} tree")]
        page.click("#new-chat")
        visit.ask(f"{word}?")
    items = page.locator("#conversations .conversation")
    expect(items).to_have_text(["banana?", "apple?"])
    page.fill("#search", "APPLE tree")
    expect(items).to_have_text(["apple?"])
    page.click("#conversations button[aria-label=More]")
    page.click("text=Rename")
    page.fill(".rename", "Fruit")
    page.keyboard.press("Enter")
    expect(items).to_have_text(["Fruit"])
    page.fill("#search", "")
    visit.reload()
    expect(items).to_have_text(["banana?", "Fruit"])
    with page.expect_download() as got:
        page.locator("#conversations li", has_text="Fruit").hover()
        page.locator("#conversations li", has_text="Fruit").locator("button[aria-label=More]").click()
        page.click("text=Export as JSON")
    path = tmp_path / "fruit.json"
    got.value.save_as(path)
    page.locator("#conversations li", has_text="Fruit").locator("button[aria-label=More]").click()
    page.click("[role=menuitem]:has-text('Delete')")
    expect(items).to_have_text(["banana?"])
    page.click("text=Undo")
    expect(items).to_have_count(2)
    page.set_input_files("#import-file", path)
    expect(items).to_have_text(["banana?", "Fruit", "Fruit"], use_inner_text=True)
    evil = json.loads(path.read_text())
    node = next(iter(evil["conversations"][0]["nodes"]))
    evil["conversations"][0]["nodes"][node]["role"] = "<img src=x onerror=alert(1)>"
    evil["conversations"][0]["nodes"]["__proto__"] = {"role": "user"}
    path.write_text(json.dumps(evil))
    page.set_input_files("#import-file", path)
    path.write_text("[]")
    page.set_input_files("#import-file", path)
    expect(page.locator("#toast")).to_contain_text("not a file of conversations")


def test_what_is_deleted_while_it_is_written_stays_deleted(visit, slow):
    slow.delay = 0.03
    visit.send()
    expect(visit.page.locator(".thoughts")).to_contain_text("4", timeout=WAIT)
    visit.page.click("#conversations button[aria-label=More]")
    visit.page.click("[role=menuitem]:has-text('Delete')")
    visit.page.wait_for_timeout(1500)
    visit.reload()
    expect(visit.page.locator("#conversations .conversation")).to_have_count(0)


def test_a_reply_goes_on_while_another_conversation_is_open(visit, slow):
    slow.delay = 0.02
    visit.send()
    expect(visit.page.locator(".thoughts")).to_contain_text("4", timeout=WAIT)
    visit.page.keyboard.press("Control+k")
    expect(visit.page.locator("#send")).to_be_visible()
    slow.answers = [script("another")]
    visit.ask("other?")
    visit.page.click("#conversations .conversation >> text=47")
    visit.done()
    expect(visit.page.locator(".answer")).to_have_text("47 * 36 = 1692", timeout=WAIT)


def test_a_second_tab_follows(visit, slow):
    other = visit.context.new_page()
    other.goto(visit.url)
    other.wait_for_selector("body[data-ready]")
    slow.answers = [script("told once")]
    visit.ask("shared?")
    expect(other.locator("#conversations .conversation")).to_have_text(["shared?"])
    other.click("#conversations .conversation")
    expect(other.locator(".answer")).to_have_text("told once")


# --- looks, languages, keyboard ---------------------------------------------------------------------------

CONTRAST = """() => {
    const style = getComputedStyle(document.documentElement), probe = document.createElement("i");
    document.body.append(probe);
    const light = (name) => {
        probe.style.color = style.getPropertyValue(name);
        const rgb = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
        const [r, g, b] = rgb.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const pairs = [];
    for (const ink of ["--ink", "--soft", "--faint", "--accent", "--bad"])
        for (const paper of ["--paper", "--side", "--card"]) pairs.push([ink, paper]);
    for (const ink of ["--h-comment", "--h-word", "--h-text", "--h-number", "--h-name", "--h-type"]) pairs.push([ink, "--code"]);
    pairs.push(["--on-accent", "--accent"], ["--bad", "--bad-paper"], ["--ink", "--bubble"], ["--soft", "--hover"]);
    const low = pairs.filter(([a, b]) => ratio(light(a), light(b)) < 4.5);
    probe.remove();
    return low;
}"""


def paper_of(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_both_themes(browser, sputnik):
    papers = {}
    for theme in ("light", "dark"):
        visit = Visit(browser, sputnik.url, color_scheme=theme)
        papers[theme] = paper_of(visit.page)
        assert visit.page.evaluate(CONTRAST) == []
        visit.ask()
        visit.shoot(theme)
        visit.close()
    assert papers["light"] != papers["dark"]
    visit = Visit(browser, sputnik.url, color_scheme="light")
    visit.page.click("#open-settings")
    visit.page.select_option("#s-theme", "dark")
    assert paper_of(visit.page) == papers["dark"]
    visit.reload()
    assert paper_of(visit.page) == papers["dark"]
    visit.close()


def test_both_languages(browser, sputnik):
    visit = Visit(browser, sputnik.url, locale="zh-CN")
    page = visit.page
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("#new-chat")).to_contain_text("新对话")
    reply = visit.ask()
    expect(reply.locator("summary")).to_contain_text("思考了")
    expect(reply.locator(".figures")).to_contain_text("词元/秒")
    visit.shoot("chinese")
    page.click("#open-settings")
    page.select_option("#s-lang", "en")
    page.keyboard.press("Escape")
    expect(page.locator("#new-chat")).to_contain_text("New chat")
    expect(reply.locator("summary")).to_contain_text("Thought for")
    visit.close()


def test_both_languages_have_every_word(visit):
    missing = visit.page.evaluate("""async () => {
        const source = await (await fetch("/assets/i18n.js")).text();
        const keys = (name) => new Set([...source.split(`const ${name} = {`)[1].split("\\n};")[0].matchAll(/(?:^|[,{]) *(\\w+): "/gm)].map((m) => m[1]));
        const [en, zh] = [keys("en"), keys("zh")];
        const used = new Set([...document.querySelectorAll("[data-t], [data-t-label], [data-t-placeholder]")].flatMap((el) => Object.values({ a: el.dataset.t, b: el.dataset.tLabel, c: el.dataset.tPlaceholder }).filter(Boolean)));
        return [[...en].filter((k) => !zh.has(k)), [...zh].filter((k) => !en.has(k)), [...used].filter((k) => !en.has(k)), en.size > 80];
    }""")
    assert missing == [[], [], [], True]


def test_phone_width(browser, slow):
    slow.reset()
    visit = Visit(browser, slow.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = visit.page
    slow.answers = [script("A [link](https://example.org/" + "long" * 60 + ")\n\n```c\n" + "int x; " * 60 + "\n```\n\n$$" + "x + " * 60 + "y$$\n\n| a | b | c |\n|---|---|---|\n| " + "w" * 80 + " | 2 | 3 |")]
    visit.ask("q" * 200)
    wide = "[document.documentElement.scrollWidth, document.getElementById('scroll').scrollWidth - document.getElementById('scroll').clientWidth, innerWidth]"
    assert page.evaluate(wide) == [360, 0, 360]
    visit.shoot("phone")
    expect(page.locator("#sidebar")).not_to_be_visible()
    page.tap("#toggle-sidebar")
    expect(page.locator("#sidebar")).to_be_visible()
    visit.shoot("phone-list")
    page.keyboard.press("Escape")
    expect(page.locator("#sidebar")).not_to_be_visible()
    page.tap("#toggle-sidebar")
    page.tap("#open-settings")
    expect(page.locator("#settings")).to_be_visible()
    assert page.evaluate("document.getElementById('settings').getBoundingClientRect().width") <= 360
    visit.close()


def test_keyboard_alone(visit, slow):
    page = visit.page
    slow.answers = [script("one"), script("two")]
    expect(page.locator("#input")).to_be_focused()
    page.keyboard.type("line one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_text("line one\nline two")
    visit.done()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".editor textarea")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_have_text("two", timeout=WAIT)
    visit.done()
    page.focus(".message.user .previous")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_have_text("one")
    expect(page.locator(".message.user .next")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#input")).to_be_focused()
    page.keyboard.press("Control+b")
    expect(page.locator("#sidebar")).to_be_hidden()
    page.keyboard.press("Control+b")
    expect(page.locator("#sidebar")).to_be_visible()


def test_everything_can_be_reached_and_has_a_name(visit, slow):
    slow.answers = [script("```c\nint x;\n```", reasoning="hm")]
    visit.ask("q")
    page = visit.page
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, textarea, select, summary, [tabindex='0']")]
        .filter((el) => el.checkVisibility() && !/^(PRE|DIV)$/.test(el.tagName))
        .filter((el) => !(el.getAttribute("aria-label") || el.labels?.length || el.textContent.trim())).map((el) => el.outerHTML)""")
    assert nameless == []
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.tagName"))
    seen = seen[seen.index("skip"):]
    order = [name for name in ("skip", "new-chat", "search", "open-settings", "toggle-sidebar", "copy-code", "input", "attach", "think") if name in seen]
    assert order == ["skip", "new-chat", "search", "open-settings", "toggle-sidebar", "copy-code", "input", "attach", "think"]
    assert [seen.index(name) for name in order] == sorted(seen.index(name) for name in order)


def test_screen_readers_hear_events_and_not_tokens(visit, slow):
    page = visit.page
    page.evaluate("""() => {
        window.said = [];
        new MutationObserver(() => window.said.push(document.getElementById("status").textContent)).observe(document.getElementById("status"), { childList: true });
    }""")
    slow.answers = [script("a long answer in many pieces " * 10, reasoning="thinking a while", size=3)]
    visit.ask("q")
    assert page.evaluate("window.said") == ["The model is thinking.", "The answer begins.", "The answer is complete."]
    assert page.locator("#messages").get_attribute("aria-live") == "off"
