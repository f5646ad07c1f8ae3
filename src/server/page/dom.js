/* SPDX-License-Identifier: MIT */
/* Small helpers to build elements. Strings become text, never HTML. */

import { t } from "./i18n.js";

export const $ = (id) => document.getElementById(id);

export function h(tag, props = {}, ...children) {
    const el = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
        if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
        else if (name === "class") el.className = value;
        else if (name.includes("-") || name === "role" || name === "for") el.setAttribute(name, value);
        else el[name] = value;
    }
    el.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return el;
}

export function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    return svg;
}

export function iconButton(name, word, onclick, more = {}) {
    return h("button", { type: "button", class: "icon-button", title: t(word), "aria-label": t(word), onclick, ...more }, icon(name));
}

/* Read out to who cannot see the page. */
export function say(text) {
    $("status").textContent = text;
}

let toastTimer = 0;

export function toast(text, action, onclick) {
    const box = $("toast");
    const [words, button] = box.children;
    words.textContent = text;
    button.textContent = action ?? "";
    button.hidden = !action;
    button.onclick = () => {
        box.hidden = true;
        onclick?.();
    };
    box.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => (box.hidden = true), 7000);
}

export function download(name, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/* Beyond loopback and without TLS there is no clipboard API: then by way of a selection, as pages did before it. */
export async function copyText(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
    const area = h("textarea", { class: "sr", value: text });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
}

export function fileName(title, ending) {
    return (title.replace(/[^\p{L}\p{N} _-]/gu, "").trim().slice(0, 60) || "sputnik") + ending;
}
