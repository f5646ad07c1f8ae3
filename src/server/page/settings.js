/* SPDX-License-Identifier: MIT */
/* What can be set: sampling, thinking, theme, language, API key. Kept in localStorage; the dialog writes every change at once. */

import { chooseLanguage, t } from "./i18n.js";

const KEY = "sputnik.settings";
const DEFAULTS = { system: "", budget: "", max_tokens: "", temperature: "", top_p: "", seed: "", stop: "", theme: "auto", lang: "auto", key: "", think: true, model: "" };
const RANGES = { budget: [0, 1e9], max_tokens: [1, 1e9], temperature: [0, 2], top_p: [0, 1], seed: [0, 2 ** 53 - 1] };
const WHOLE = ["budget", "max_tokens", "seed"];
const TEXTS = ["system", "stop", "key", "theme", "lang"];

export const settings = { ...DEFAULTS };

export function loadSettings() {
    try {
        const kept = JSON.parse(localStorage.getItem(KEY) || "{}");
        for (const name of Object.keys(DEFAULTS)) if (typeof kept[name] === typeof DEFAULTS[name]) settings[name] = kept[name];
    } catch {
        /* broken or no storage: defaults */
    }
    apply();
}

export function change(name, value) {
    settings[name] = value;
    try {
        localStorage.setItem(KEY, JSON.stringify(settings));
    } catch {
        /* kept as long as the page */
    }
    apply();
}

function apply() {
    document.documentElement.dataset.theme = settings.theme;
    chooseLanguage(settings.lang);
}

/* The number in a field, null if it is empty, NaN if it is none or out of range. */
function numberOf(name) {
    const text = settings[name].trim();
    if (text === "") return null;
    const value = Number(text);
    const [min, max] = RANGES[name];
    return value >= min && value <= max && (!WHOLE.includes(name) || Number.isInteger(value)) ? value : NaN;
}

/* The members of a request that the settings ask for; what is empty is left to the server. */
export function samplingFields() {
    const fields = {};
    for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
        const value = numberOf(name);
        if (value !== null && !Number.isNaN(value)) fields[name] = value;
    }
    const stop = settings.stop.split("\n").filter((line) => line !== "").slice(0, 16);
    if (stop.length) fields.stop = stop;
    const budget = numberOf("budget");
    if (!settings.think) fields.thinking = { type: "disabled" };
    else if (budget !== null && !Number.isNaN(budget)) fields.thinking = { type: "enabled", budget_tokens: budget };
    return fields;
}

function check(field, name) {
    const isBad = Number.isNaN(numberOf(name));
    const [min, max] = RANGES[name];
    field.setAttribute("aria-invalid", String(isBad));
    field.title = isBad ? t("outOfRange", { min, max }) : "";
}

/* Joins the dialog's fields to the settings; `onChange` is told the name of what has changed. */
export function bindSettings(onChange) {
    for (const name of [...Object.keys(RANGES), ...TEXTS]) {
        const field = document.getElementById(`s-${name}`);
        field.addEventListener(field.tagName === "SELECT" ? "change" : "input", () => {
            change(name, field.value);
            if (name in RANGES) check(field, name);
            onChange(name);
        });
    }
}

/* `system` is the system prompt of the conversation that is open, which may differ from that of new ones. */
export function openSettings(system, focus) {
    for (const name of [...Object.keys(RANGES), ...TEXTS]) {
        const field = document.getElementById(`s-${name}`);
        field.value = name === "system" ? system : settings[name];
        if (name in RANGES) check(field, name);
    }
    document.getElementById("settings").showModal();
    if (focus) document.getElementById(focus).focus();
}
