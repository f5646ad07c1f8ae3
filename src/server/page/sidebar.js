/* SPDX-License-Identifier: MIT */
/* The list of conversations: search, open, rename, export, delete. */

import { $, download, fileName, h, icon, iconButton, toast } from "./dom.js";
import { t } from "./i18n.js";
import { stopReply } from "./reply.js";
import { asJson, asMarkdown, conversations, remove, save, textOf, titleOf } from "./store.js";

const DAY = 86400000;
let current = () => null;
let open = null;

export function initSidebar(getCurrent, openConversation) {
    current = getCurrent;
    open = openConversation;
    $("search").addEventListener("input", showList);
    $("toggle-sidebar").addEventListener("click", toggleSidebar);
    $("close-sidebar").addEventListener("click", () => closeSidebar(true));
    $("backdrop").addEventListener("click", () => closeSidebar(true));
    document.addEventListener("click", (event) => {
        const menu = document.querySelector(".menu");
        if (menu && !menu.parentElement.contains(event.target)) menu.remove();
    });
}

/* On a wide page the list is a column that can be put away, on a narrow one a sheet that can be drawn over the rest. */
const narrow = window.matchMedia("(max-width: 52rem)");

export function toggleSidebar() {
    const name = narrow.matches ? "side-open" : "side-closed";
    const isOpen = document.body.classList.toggle(name) === narrow.matches;
    if (isOpen && narrow.matches) $("new-chat").focus();
    showState();
}

export function closeSidebar(refocus) {
    if (!document.body.classList.contains("side-open")) return false;
    document.body.classList.remove("side-open");
    showState();
    if (refocus) $("toggle-sidebar").focus();
    return true;
}

function showState() {
    const isOpen = narrow.matches ? document.body.classList.contains("side-open") : !document.body.classList.contains("side-closed");
    $("toggle-sidebar").setAttribute("aria-expanded", String(isOpen));
}

function groupOf(conv) {
    const age = Date.now() - conv.updated;
    return new Date(conv.updated).toDateString() === new Date().toDateString() ? "today" : age < 7 * DAY ? "week" : "older";
}

export function showList() {
    const wanted = $("search").value.trim().toLowerCase();
    const list = [...conversations.values()].sort((a, b) => b.updated - a.updated)
        .filter((conv) => !wanted || `${titleOf(conv)}\n${textOf(conv)}`.toLowerCase().includes(wanted));
    const items = [];
    let group = null;
    for (const conv of list) {
        const its = groupOf(conv);
        if (its !== group) items.push(h("li", { class: "group" }, t(its)));
        group = its;
        items.push(item(conv));
    }
    if (!items.length) items.push(h("li", { class: "group none" }, t(wanted ? "nothingFound" : "noConversations")));
    $("conversations").replaceChildren(...items);
    showState();
}

function item(conv) {
    const title = titleOf(conv) || t("untitled");
    const isCurrent = current()?.id === conv.id;
    const link = h("button", { type: "button", class: "conversation", title, onclick: () => (open(conv), closeSidebar(false)) }, title);
    if (isCurrent) link.setAttribute("aria-current", "true");
    const more = iconButton("dots", "more", () => toggleMenu(row, conv, more), { "aria-haspopup": "menu", "aria-expanded": "false" });
    const row = h("li", { class: isCurrent ? "current" : "" }, link, more);
    return row;
}

/* --- the menu of one conversation ----------------------------------------------------------------------- */

function toggleMenu(row, conv, button) {
    const old = document.querySelector(".menu");
    old?.remove();
    if (old && row.contains(button) && old.dataset.conv === conv.id) return;
    const entry = (word, act) => h("button", { type: "button", role: "menuitem", onclick: () => (menu.remove(), act()) }, t(word));
    const title = titleOf(conv) || t("untitled");
    const menu = h("div", { class: "menu", role: "menu" },
        entry("rename", () => rename(row, conv)),
        entry("exportMarkdown", () => download(fileName(title, ".md"), "text/markdown", asMarkdown(conv))),
        entry("exportJson", () => download(fileName(title, ".json"), "application/json", asJson([conv]))),
        entry("delete", () => discard(conv)));
    menu.dataset.conv = conv.id;
    menu.addEventListener("keydown", (event) => moveInMenu(event, menu, button));
    row.append(menu);
    if (menu.getBoundingClientRect().bottom > $("conversations").parentElement.getBoundingClientRect().bottom) menu.classList.add("above");
    menu.firstChild.focus();
}

function moveInMenu(event, menu, button) {
    const entries = [...menu.children];
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + entries.length, Home: 0, End: entries.length - 1 }[event.key];
    if (to !== undefined) {
        event.preventDefault();
        entries[to % entries.length].focus();
    } else if (event.key === "Escape") {
        event.stopPropagation();
        menu.remove();
        button.focus();
    } else if (event.key === "Tab") {
        menu.remove();
    }
}

function rename(row, conv) {
    const field = h("input", { class: "rename", value: titleOf(conv), "aria-label": t("rename"), maxLength: 120 });
    let isOver = false;
    const end = async (keep) => {
        if (isOver) return;
        isOver = true;
        if (keep && field.value.trim()) {
            conv.title = field.value.trim();
            conv.named = true;
            await save(conv);
        }
        open(null);
        showList();
    };
    field.addEventListener("keydown", (event) => {
        if (event.isComposing) return;
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") event.stopPropagation(), end(false);
    });
    field.addEventListener("blur", () => end(true));
    row.replaceChildren(field);
    field.select();
}

async function discard(conv) {
    stopReply(conv);
    await remove(conv.id);
    if (current()?.id === conv.id) open(undefined);
    showList();
    toast(t("deleted"), t("undo"), async () => {
        await save(conv);
        showList();
    });
}
