/* SPDX-License-Identifier: MIT */
/* Runs before the first paint, so that a chosen theme does not flash. Everything else is main.js. */
try {
    document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("sputnik.settings") || "{}").theme || "auto";
} catch {
    /* no storage: the system's theme */
}
