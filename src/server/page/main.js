/* SPDX-License-Identifier: MIT */
/* The page's centre: which conversation is open, and what happens on each wish of the user. store.js keeps conversations, reply.js gets
 * replies, view.js shows messages, sidebar.js lists conversations, composer.js takes what is written. */

import { fillComposer, initComposer } from "./composer.js";
import { $, download, h, say, toast } from "./dom.js";
import { language, t } from "./i18n.js";
import { initReplies, runOf, setModels, startReply, stopReply } from "./reply.js";
import { bindSettings, change, loadSettings, openSettings, settings } from "./settings.js";
import { closeSidebar, initSidebar, showList, toggleSidebar } from "./sidebar.js";
import { addNode, asJson, conversations, importJson, newConversation, onChangeElsewhere, openStore, pathOf, remove, save, titleOf } from "./store.js";
import { listModels } from "./stream.js";
import { editMessage, focusSibling, forgetViews, initView, showConversation, tickClock, updateMessage } from "./view.js";

let conv = null; /* the open conversation; null: a new one that has no message yet */
let isFollowing = true; /* the end of the conversation is kept in sight */

/* --- showing ------------------------------------------------------------------------------------------ */

function show() {
    showConversation(conv);
    const title = conv ? titleOf(conv) || t("untitled") : "";
    $("title").textContent = title;
    document.title = title ? `${title} – Sputnik` : "Sputnik";
    showRunning();
}

function showRunning() {
    const isRunning = Boolean(runOf(conv));
    const hadFocus = document.activeElement === $("stop") || document.activeElement === $("send");
    $("stop").hidden = !isRunning;
    $("send").hidden = isRunning;
    $("messages").setAttribute("aria-busy", String(isRunning));
    if (hadFocus) $("input").focus();
}

function follow() {
    const box = $("scroll");
    if (isFollowing) box.scrollTop = box.scrollHeight;
}

function watchScroll() {
    const box = $("scroll");
    let [top, height] = [0, 0];
    /* text that grows also scrolls: only a way up in a conversation that has not shrunk is the reader's own */
    const look = () => {
        const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
        if (isAtEnd) isFollowing = true;
        else if (box.scrollTop < top && box.scrollHeight >= height) isFollowing = false;
        [top, height] = [box.scrollTop, box.scrollHeight];
        $("to-bottom").hidden = isFollowing || isAtEnd;
    };
    box.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(() => (follow(), look())).observe($("messages"));
    $("to-bottom").addEventListener("click", () => {
        isFollowing = true;
        follow();
        $("input").focus();
    });
}

/* Open a conversation; null: only show anew what is open; undefined: a new one. */
function open(which) {
    if (which !== null && which !== conv) {
        conv = which ?? null;
        rememberOpen();
        isFollowing = true;
    }
    show();
    showList();
    follow();
}

/* Which conversation a reload comes back to. */
function rememberOpen() {
    const address = conv ? `#${conv.id}` : location.pathname + location.search;
    history.replaceState(null, "", address);
}

function newChat() {
    open(undefined);
    closeSidebar(false);
    $("input").focus();
}

/* --- wishes ------------------------------------------------------------------------------------------- */

function firstLine(text) {
    const line = text.trim().split("\n")[0];
    return line.length > 60 ? `${line.slice(0, 57)}…` : line;
}

function reply(question) {
    const node = addNode(conv, question.id, { role: "assistant", reasoning: "", state: "running" });
    isFollowing = true;
    startReply(conv, node);
    open(null);
}

function send(text, files) {
    if (runOf(conv)) return false;
    if (!conv) {
        conv = newConversation();
        conv.system = settings.system;
        conversations.set(conv.id, conv);
        rememberOpen();
    }
    conv.updated = Date.now();
    conv.title ||= firstLine(text || files[0].name);
    const last = pathOf(conv).at(-1)?.id ?? "root";
    reply(addNode(conv, last, { role: "user", content: text, files }));
    return true;
}

function edit(node, text) {
    if (runOf(conv)) return;
    const { role, files, reasoning } = node;
    const copy = addNode(conv, node.parent, { role, files, reasoning, content: text, state: "done" });
    if (role === "user") {
        reply(copy);
        return;
    }
    save(conv);
    open(null);
}

/* After an error: in place if nothing had come, else from where it broke off. */
function retry(node) {
    if (runOf(conv)) return;
    startReply(conv, node);
    open(null);
}

function pick(node, step) {
    const parent = conv.nodes[node.parent];
    const to = parent.children[parent.children.indexOf(node.id) + step];
    if (!to || runOf(conv)) return;
    parent.pick = to;
    save(conv);
    isFollowing = false;
    show();
    focusSibling(to, step < 0 ? "previous" : "next");
}

const actions = {
    edit, pick, retry, resume: retry,
    regenerate: (node) => runOf(conv) || reply(conv.nodes[node.parent]),
    enterKey: () => openSettings(systemNow(), "s-key"),
};

/* --- replies ------------------------------------------------------------------------------------------ */

const due = new Set(); /* messages to be shown anew soon */
let cost = 0;          /* ms that showing took last: long replies on slow machines are shown less often, so that the page stays quick */

function showSoon(node) {
    if (!due.size) setTimeout(() => requestAnimationFrame(showDue), Math.min(2 * cost, 1000));
    due.add(node);
}

function showDue() {
    const start = performance.now();
    for (const node of due) updateMessage(node);
    due.clear();
    cost = performance.now() - start;
}

function onReply(event, run) {
    if (event === "tick") return tickClock(run.node);
    if (event === "grow") {
        if (run.conv === conv) showSoon(run.node);
        if (run.node.content && !run.isSaid) say(t("saidStarted"));
        run.isSaid ||= Boolean(run.node.content);
        return undefined;
    }
    if (run.conv === conv) {
        updateMessage(run.node);
        show();
    }
    if (event === "start" && settings.think) say(t("saidThinking"));
    if (event === "end") {
        say(t(run.node.state === "done" ? "saidDone" : "saidStopped"));
        showList();
        if (!run.node.error) hideBanner();
    }
    return undefined;
}

/* --- the server --------------------------------------------------------------------------------------- */

function hideBanner() {
    $("banner").hidden = true;
}

async function loadModels() {
    try {
        const models = await listModels(settings.key);
        setModels(models);
        if (settings.model && !models.includes(settings.model)) change("model", "");
        $("model").replaceChildren(...models.map((id) => h("option", { value: id, selected: id === settings.model }, id)));
        $("model").hidden = models.length < 2;
        $("model-name").textContent = models.length === 1 ? models[0] : "";
        hideBanner();
    } catch (error) {
        const isKey = error.kind === "key";
        const act = isKey ? actions.enterKey : loadModels;
        const button = h("button", { type: "button", class: "link-button", onclick: act }, t(isKey ? "giveKey" : "retry"));
        $("banner").replaceChildren(t(`err_${error.kind ?? "server"}`), button);
        $("banner").hidden = false;
    }
}

/* --- settings and keyboard ---------------------------------------------------------------------------- */

function systemNow() {
    return conv ? conv.system ?? "" : settings.system;
}

function onSetting(name) {
    if (name === "system" && conv) {
        conv.system = settings.system;
        save(conv);
    }
    if (name === "lang") relabel();
}

function relabel() {
    forgetViews();
    showStarters();
    showThink();
    open(null);
}

function showThink() {
    $("think").setAttribute("aria-pressed", String(settings.think));
}

function showStarters() {
    const make = (word) => h("button", { type: "button", class: "starter", onclick: () => fillComposer(t(word)) }, t(word));
    $("starters").replaceChildren(...["start1", "start2", "start3"].map(make));
}

async function deleteAll() {
    if (!window.confirm(t("deleteAllSure"))) return;
    for (const each of [...conversations.values()]) {
        stopReply(each);
        await remove(each.id);
    }
    newChat();
}

async function importFile() {
    const [file] = $("import-file").files;
    $("import-file").value = "";
    if (!file) return;
    try {
        toast(t("imported", { n: await importJson(await file.text()) }));
        showList();
    } catch {
        toast(t("importFailed"));
    }
}

function bindButtons() {
    const on = (id, act) => $(id).addEventListener("click", act);
    on("new-chat", newChat);
    on("new-chat-small", newChat);
    on("stop", () => stopReply(conv));
    on("open-settings", () => (closeSidebar(false), openSettings(systemNow())));
    on("close-settings", () => $("settings").close());
    on("think", () => (change("think", !settings.think), showThink()));
    on("export-all", () => download("sputnik.json", "application/json", asJson([...conversations.values()])));
    on("delete-all", deleteAll);
    on("import", () => $("import-file").click());
    $("import-file").addEventListener("change", importFile);
    $("model").addEventListener("change", () => change("model", $("model").value));
    $("settings").addEventListener("click", (event) => event.target === $("settings") && $("settings").close());
    $("settings").addEventListener("close", () => ($("input").focus(), $("banner").hidden || loadModels()));
}

function onKey(event) {
    if (event.isComposing || $("settings").open) return;
    const isCommand = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
    if (isCommand && event.key.toLowerCase() === "k") event.preventDefault(), newChat();
    else if (isCommand && event.key.toLowerCase() === "b") event.preventDefault(), toggleSidebar();
    else if (event.key === "Escape") closeSidebar(true) || stopReply(conv);
    else if (event.key === "ArrowUp" && event.target === $("input") && !$("input").value && !runOf(conv)) editLast(event);
}

function editLast(event) {
    const last = conv && pathOf(conv).filter((node) => node.role === "user").at(-1);
    if (!last) return;
    event.preventDefault();
    editMessage(last);
}

async function main() {
    loadSettings();
    initView(actions);
    initReplies(onReply);
    initSidebar(() => conv, open);
    bindSettings(onSetting);
    bindButtons();
    document.addEventListener("keydown", onKey);
    const isKept = await openStore();
    conv = conversations.get(location.hash.slice(1)) ?? null;
    initComposer(send);
    relabel();
    watchScroll();
    onChangeElsewhere((id) => {
        if (conv?.id === id && !runOf(conv)) conv = conversations.get(id) ?? null, forgetViews(), show();
        showList();
    });
    if (!isKept) toast(t("noStore"));
    document.body.dataset.ready = language;
    $("input").focus();
    await loadModels();
}

main();
