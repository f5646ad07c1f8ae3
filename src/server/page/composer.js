/* SPDX-License-Identifier: MIT */
/* The field where messages are written, with the text files that go with them. */

import { $, h, icon, iconButton, toast } from "./dom.js";
import { t } from "./i18n.js";

const FILE_MAX = 512 * 1024; /* bytes: already more tokens than most contexts hold */
const FILES_MAX = 16;
const DRAFT = "sputnik.draft";
let files = []; /* [{name, text}] */
let sending = null;

/* `send(text, files)` answers whether it took the message. */
export function initComposer(send) {
    sending = send;
    $("composer").addEventListener("submit", (event) => (event.preventDefault(), submit()));
    $("input").addEventListener("keydown", (event) => {
        /* the Enter that ends a composition of Chinese characters sends nothing */
        if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
        event.preventDefault();
        submit();
    });
    $("input").addEventListener("input", changed);
    $("input").addEventListener("paste", (event) => takeFrom(event, event.clipboardData));
    $("attach").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", async () => {
        await addFiles([...$("file").files]);
        $("file").value = "";
    });
    initDrop();
    $("input").value = readDraft();
    changed();
}

function readDraft() {
    try {
        return sessionStorage.getItem(DRAFT) ?? "";
    } catch {
        return "";
    }
}

function changed() {
    const input = $("input");
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, window.innerHeight * 0.4)}px`;
    $("send").disabled = !input.value.trim() && !files.length;
    try {
        sessionStorage.setItem(DRAFT, input.value);
    } catch {
        /* a draft more or less */
    }
}

function submit() {
    const text = $("input").value.trim();
    if ((!text && !files.length) || !sending(text, files)) return;
    $("input").value = "";
    files = [];
    showChips();
}

export function fillComposer(text) {
    $("input").value = text;
    changed();
    $("input").focus();
}

/* --- files -------------------------------------------------------------------------------------------- */

function takeFrom(event, data) {
    if (!data?.files.length) return;
    event.preventDefault();
    addFiles([...data.files]);
}

/* A depth, because entering a child comes before leaving its parent. */
function initDrop() {
    let depth = 0;
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const show = (by) => ($("drop").hidden = (depth = Math.max(0, depth + by)) === 0);
    window.addEventListener("dragenter", (event) => hasFiles(event) && show(1));
    window.addEventListener("dragleave", (event) => hasFiles(event) && show(-1));
    window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    window.addEventListener("drop", (event) => {
        show(-depth);
        takeFrom(event, event.dataTransfer);
    });
}

async function textOfFile(file) {
    if (file.size > FILE_MAX) throw new Error(t("tooLarge", { name: file.name, max: `${FILE_MAX / 1024} KB` }));
    try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
        if (!text.includes("\0")) return text;
    } catch {
        /* not UTF-8, or a folder */
    }
    throw new Error(t("notText", { name: file.name }));
}

async function addFiles(list) {
    for (const file of list) {
        try {
            if (files.length >= FILES_MAX) throw new Error(t("tooMany", { n: FILES_MAX }));
            files.push({ name: file.name, text: await textOfFile(file) });
        } catch (error) {
            toast(error.message);
        }
    }
    showChips();
    $("input").focus();
}

function showChips() {
    const chips = files.map((file) => {
        const away = iconButton("close", "close", () => {
            files = files.filter((other) => other !== file);
            showChips();
            $("input").focus();
        }, { "aria-label": t("removeFile", { name: file.name }) });
        return h("span", { class: "chip" }, icon("file"), h("span", {}, file.name), away);
    });
    $("chips").replaceChildren(...chips);
    changed();
}
