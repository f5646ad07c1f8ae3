/* SPDX-License-Identifier: MIT */
/* The messages of one conversation as elements. What a button does is told by `actions`, an object of functions that main.js gives:
 * edit(node, text), regenerate(node), resume(node), pick(node, step), enterKey(). */

import { $, copyText, h, icon, iconButton, say } from "./dom.js";
import { duration, hasWord, t } from "./i18n.js";
import { MarkdownView } from "./render.js";
import { contentOf, pathOf } from "./store.js";

const views = new Map(); /* node id → MessageView */
let actions = null;

export function initView(given) {
    actions = given;
}

/* --- one message -------------------------------------------------------------------------------------- */

class MessageView {
    constructor(conv, node) {
        this.conv = conv;
        this.node = node;
        this.el = h("article", { class: `message ${node.role}` }, h("h3", { class: "sr" }, t(node.role === "user" ? "you" : "assistant")));
        this.el.dataset.node = node.id;
        this.body = h("div", { class: "body" });
        this.foot = h("div", { class: "foot" });
        this.el.append(this.body, this.foot);
        if (node.role === "user") this.fillUser();
        else this.fillAssistant();
        this.update();
    }

    fillUser() {
        for (const file of this.node.files ?? []) {
            const text = h("pre", { tabIndex: 0 }, file.text);
            this.body.append(h("details", { class: "attached" }, h("summary", {}, icon("file"), file.name), text));
        }
        if (this.node.content) this.body.append(h("div", { class: "said" }, this.node.content));
    }

    fillAssistant() {
        this.summary = h("span", {});
        this.clock = h("span", { class: "clock", "aria-hidden": "true" });
        this.thoughts = h("div", { class: "thoughts" });
        const summary = h("summary", { onclick: () => (this.isFoldChosen = true) }, icon("bulb"), this.summary, this.clock);
        this.fold = h("details", { class: "reasoning", hidden: true }, summary, this.thoughts);
        this.answer = h("div", { class: "answer" });
        this.waiting = h("div", { class: "waiting", role: "img", "aria-label": t("waiting") }, h("i"), h("i"), h("i"));
        this.trouble = h("div", { class: "trouble", hidden: true });
        this.body.append(this.fold, this.answer, this.waiting, this.trouble);
        this.reasoningView = new MarkdownView(this.thoughts);
        this.answerView = new MarkdownView(this.answer);
    }

    update() {
        if (this.node.role !== "user") this.updateAssistant();
        /* the buttons are made anew only when they change: somebody may be on one with the keyboard */
        const state = `${this.node.state} ${this.conv.nodes[this.node.parent].children.join()} ${Boolean(this.node.stats)}`;
        if (this.footState === state) return;
        this.footState = state;
        this.foot.replaceChildren(...this.buttons());
    }

    updateAssistant() {
        const { content, reasoning, state } = this.node;
        const isRunning = state === "running";
        this.el.classList.toggle("running", isRunning);
        this.waiting.hidden = !isRunning || Boolean(content || reasoning);
        this.fold.hidden = !reasoning;
        if (reasoning) this.updateReasoning(isRunning && !content);
        this.answerView.update(content);
        this.updateTrouble();
    }

    updateReasoning(isThinking) {
        if (!this.isFoldChosen) this.fold.open = isThinking;
        this.fold.classList.toggle("now", isThinking);
        this.updateClock(isThinking);
        if (this.fold.open) this.reasoningView.update(this.node.reasoning);
        else this.fold.addEventListener("toggle", () => this.reasoningView.update(this.node.reasoning), { once: true });
    }

    updateClock(isThinking) {
        const ms = this.node.thinkMs ?? 0;
        const isOver = this.node.content || this.node.state === "done";
        this.summary.textContent = isThinking ? t("thinkingNow") : t(isOver ? "thoughtFor" : "thoughtStopped", { time: duration(ms) });
        this.clock.textContent = isThinking ? duration(ms) : "";
    }

    updateTrouble() {
        const { state, error } = this.node;
        this.trouble.hidden = state === "running" || state === "done";
        if (this.trouble.hidden) return;
        const key = JSON.stringify([state, error]);
        if (this.troubleKey === key) return;
        this.troubleKey = key;
        this.trouble.classList.toggle("bad", Boolean(error));
        this.trouble.replaceChildren(...(error ? this.errorParts(error) : [t(state === "length" ? "cutHere" : "stoppedHere")]));
        if (error) this.trouble.setAttribute("role", "alert");
    }

    errorParts(error) {
        const name = `err_${error.kind}`;
        const parts = [h("span", {}, t(hasWord(name) ? name : "err_server"))];
        if (error.wait) parts.push(" ", t("tryAfter", { n: error.wait }));
        if (error.detail) parts.push(h("span", { class: "detail" }, error.detail));
        if (error.kind === "key") parts.push(h("button", { type: "button", class: "link-button", onclick: () => actions.enterKey() }, t("giveKey")));
        parts.push(h("button", { type: "button", class: "link-button retry", onclick: () => actions.retry(this.node) }, t("retry")));
        return parts;
    }

    /* --- below it ------------------------------------------------------------------------------------- */

    buttons() {
        const node = this.node;
        const list = [this.siblings()];
        if (node.state === "running") return list;
        const copy = iconButton("copy", "copy", () => this.copy(copy));
        if (node.content || node.files?.length) list.push(copy, iconButton("pen", "edit", () => this.edit()));
        if (node.role === "assistant") {
            list.push(iconButton("redo", "regenerate", () => actions.regenerate(node)));
            const canContinue = ["stopped", "length"].includes(node.state) && (node.content || node.reasoning);
            if (canContinue) list.push(h("button", { type: "button", class: "pill continue", onclick: () => actions.resume(node) }, icon("play"), t("continue")));
            list.push(this.figures());
        }
        return list;
    }

    siblings() {
        const all = this.conv.nodes[this.node.parent].children;
        if (all.length < 2) return "";
        const at = all.indexOf(this.node.id);
        const place = h("span", { class: "place", "aria-label": t("versionOf", { n: at + 1, all: all.length }), role: "img" }, `${at + 1}/${all.length}`);
        const step = (by, name, word) => iconButton(name, word, () => actions.pick(this.node, by), { disabled: !all[at + by], class: `icon-button ${word}` });
        return h("span", { class: "siblings" }, step(-1, "left", "previous"), place, step(1, "right", "next"));
    }

    figures() {
        const { stats } = this.node;
        if (!stats) return "";
        const parts = [];
        if (stats.perSecond) parts.push(t("speed", { n: stats.perSecond < 100 ? stats.perSecond.toFixed(1) : Math.round(stats.perSecond) }));
        if (stats.firstMs !== undefined) parts.push(t("first", { time: stats.firstMs < 1000 ? `${Math.round(stats.firstMs)} ms` : duration(stats.firstMs) }));
        if (stats.reply) parts.push(t("tokens", { n: stats.reply }) + (stats.thinking ? ` (${t("ofThinking", { n: stats.thinking })})` : ""));
        if (stats.prompt) parts.push(t("prompt", { n: stats.prompt }) + (stats.cached !== undefined ? ` (${t("cached", { n: stats.cached })})` : ""));
        return h("span", { class: "figures" }, parts.join(" · "));
    }

    async copy(button) {
        if (!(await copyText(contentOf(this.node)))) return;
        button.replaceChildren(icon("check"));
        say(t("copied"));
        setTimeout(() => button.replaceChildren(icon("copy")), 1500);
    }

    edit() {
        const area = h("textarea", { value: this.node.content, "aria-label": t("edit"), rows: 3 });
        const close = () => {
            this.el.classList.remove("editing");
            form.remove();
        };
        const save = () => {
            if (!area.value.trim() && !this.node.files?.length) return;
            close();
            actions.edit(this.node, area.value);
        };
        const form = h("div", { class: "editor" }, area, h("div", { class: "row end" },
            h("button", { type: "button", class: "button", onclick: () => (close(), $("input").focus()) }, t("cancel")),
            h("button", { type: "button", class: "button primary", onclick: save }, t(this.node.role === "user" ? "saveSend" : "save"))));
        area.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing && this.node.role === "user") event.preventDefault(), save();
            if (event.key === "Escape") event.stopPropagation(), close(), $("input").focus();
        });
        this.el.classList.add("editing");
        this.body.after(form);
        area.style.height = `${Math.min(area.scrollHeight + 4, 480)}px`;
        area.focus();
    }
}

/* --- all of them -------------------------------------------------------------------------------------- */

/* Make what is seen agree with the conversation; elements of messages that stay are kept. */
export function showConversation(conv) {
    const path = conv ? pathOf(conv) : [];
    const box = $("messages");
    const wanted = new Set(path.map((node) => node.id));
    for (const [id, view] of views) {
        if (wanted.has(id) && view.conv === conv) continue;
        view.el.remove();
        views.delete(id);
    }
    path.forEach((node, i) => {
        if (!views.has(node.id)) views.set(node.id, new MessageView(conv, node));
        const view = views.get(node.id);
        view.node = node;
        view.update();
        if (box.children[i] !== view.el) box.insertBefore(view.el, box.children[i] ?? null);
    });
    $("welcome").hidden = path.length > 0;
    document.body.classList.toggle("empty", path.length === 0);
}

export function forgetViews() {
    for (const view of views.values()) view.el.remove();
    views.clear();
}

export function updateMessage(node) {
    views.get(node.id)?.update();
}

export function tickClock(node) {
    const view = views.get(node.id);
    if (view && node.reasoning && !node.content) view.updateClock(true);
}

export function editMessage(node) {
    views.get(node.id)?.edit();
}

export function focusSibling(nodeId, word) {
    const buttons = [...(views.get(nodeId)?.foot.querySelectorAll(".siblings button") ?? [])].filter((button) => !button.disabled);
    (buttons.find((button) => button.classList.contains(word)) ?? buttons[0])?.focus();
}
