/* SPDX-License-Identifier: MIT */
/* Replies that are being written: from a message of the tree to a request, and from its stream back into the tree. One reply per
 * conversation at a time; it goes on while another conversation is shown. No DOM: `listen` is told what happens. */

import { samplingFields, settings } from "./settings.js";
import { contentOf, conversations, lockName, pathOf, rescue, save } from "./store.js";
import { ServerError, listModels, streamReply } from "./stream.js";

const SAVE_MS = 1000;
const runs = new Map(); /* conversation id → {conv, node, controller} */
let served = [];        /* ids of models */
let listen = null;      /* (event, run): "start", "grow", "end" */

export function initReplies(listener) {
    listen = listener;
    window.addEventListener("pagehide", () => rescue([...runs.values()]));
}

export function runOf(conv) {
    return conv ? runs.get(conv.id) : undefined;
}

export function stopReply(conv) {
    runs.get(conv?.id)?.controller.abort();
}

/* The messages up to the reply's question. Reasoning of earlier replies stays here: it is not fed back to the model. */
function messagesBefore(conv, node) {
    const messages = pathOf(conv, node.parent).filter((m) => m.role === "user" || m.content)
        .map((m) => ({ role: m.role, content: contentOf(m) }));
    const system = conv.system ?? "";
    return system.trim() ? [{ role: "system", content: system }, ...messages] : messages;
}

/* The model that was chosen, else the first that the server has. */
async function modelName() {
    if (!settings.model && !served.length) served = await listModels(settings.key);
    return settings.model || served[0];
}

export function setModels(models) {
    served = models;
}

async function requestFor(conv, node) {
    const body = { model: await modelName(), messages: messagesBefore(conv, node), ...samplingFields() };
    const isContinued = Boolean(node.content || node.reasoning);
    if (isContinued) {
        const start = { role: "assistant", content: node.content, prefix: true };
        if (node.reasoning) start.reasoning_content = node.reasoning;
        body.messages.push(start);
    }
    return { path: isContinued ? "beta/chat/completions" : "v1/chat/completions", body };
}

/* What is measured on the way: times of the first and the last text, and when reasoning began. */
class Watch {
    constructor(node) {
        this.start = performance.now();
        this.thoughtBefore = node.thinkMs ?? 0;
    }

    see(node, isReasoning) {
        this.last = performance.now();
        this.first ??= this.last;
        if (isReasoning) this.thinkStart ??= this.start;
        else this.stopThinking(node);
    }

    stopThinking(node) {
        if (this.thinkStart === undefined || this.isThought) return;
        this.tick(node);
        this.isThought = true;
    }

    tick(node) {
        if (this.thinkStart !== undefined && !this.isThought) node.thinkMs = this.thoughtBefore + performance.now() - this.thinkStart;
    }

    stats(usage) {
        const n = usage?.completion_tokens;
        /* what came in one piece took the whole time, as far as can be seen from here */
        const [first, count] = this.last - this.first > 5 ? [this.first, n - 1] : [this.start, n];
        const seconds = (this.last - first) / 1000;
        return {
            firstMs: this.first === undefined ? undefined : this.first - this.start,
            perSecond: n > 1 && seconds > 0 ? count / seconds : undefined,
            reply: n, thinking: usage?.completion_tokens_details?.reasoning_tokens,
            prompt: usage?.prompt_tokens, cached: usage?.prompt_cache_hit_tokens ?? usage?.prompt_tokens_details?.cached_tokens,
        };
    }
}

function takePart(run, part) {
    const { node, watch } = run;
    if (part.reasoning) node.reasoning = (node.reasoning ?? "") + part.reasoning;
    if (part.content) node.content += part.content;
    if (part.reasoning || part.content) watch.see(node, Boolean(part.reasoning));
    if (part.finish) node.state = part.finish === "length" ? "length" : "done";
    if (part.usage) run.usage = part.usage;
}

function fail(node, error) {
    node.state = node.content || node.reasoning ? "stopped" : "failed";
    if (error.name === "AbortError") return;
    const { kind, detail, wait } = error instanceof ServerError ? error : new ServerError("server", 0, error.message);
    node.error = { kind, detail, wait };
}

/* A conversation may be deleted while its reply is written: saving would bring it back. */
async function saveIfKept(conv) {
    if (conversations.has(conv.id)) await save(conv).catch(() => {}); /* a full disk must not stop the reply */
}

async function read(run) {
    const { conv, node, controller } = run;
    let saved = performance.now();
    node.state = "running";
    delete node.error;
    delete node.stats;
    await saveIfKept(conv);
    listen("start", run);
    const { path, body } = await requestFor(conv, node);
    for await (const part of streamReply(path, body, settings.key, controller.signal)) {
        takePart(run, part);
        listen("grow", run);
        if (performance.now() - saved > SAVE_MS) {
            saved = performance.now();
            saveIfKept(conv);
        }
    }
    if (node.state === "running") node.state = "done";
    if (!node.content && !node.reasoning) throw new ServerError("empty", 0, "");
}

/* Begin, or go on with, the reply `node`. */
export async function startReply(conv, node) {
    if (runs.has(conv.id)) return;
    const run = { conv, node, controller: new AbortController(), watch: new Watch(node), usage: null };
    runs.set(conv.id, run);
    const ticker = setInterval(() => (run.watch.tick(node), listen("tick", run)), 100);
    try {
        /* the lock tells other tabs that somebody is at it */
        await (navigator.locks ? navigator.locks.request(lockName(node.id), () => read(run)) : read(run));
    } catch (error) {
        fail(node, error);
    }
    clearInterval(ticker);
    run.watch.stopThinking(node);
    node.stats = run.watch.stats(run.usage);
    conv.updated = Date.now();
    runs.delete(conv.id);
    await saveIfKept(conv);
    listen("end", run);
}
