/* SPDX-License-Identifier: MIT */
/* Conversations and where they are kept. A conversation is a tree of messages: {id, title, named, created, updated, nodes}, nodes["root"]
 * being the empty start. A node is {id, parent, children, pick, role, content, reasoning, files, state, error, stats, time}; `pick` is the
 * child that is shown, so the conversation as seen is the way from the root along the picks. Records lie in IndexedDB and, read at the
 * start, all in memory. A reply that is being written is also left in localStorage when the page goes away, because a page that is
 * closing cannot wait for a database. */

const DB = "sputnik";
const RESCUE = "sputnik.rescue";
export const conversations = new Map();
let db = null;

export function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(9));
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/* --- the tree ----------------------------------------------------------------------------------------- */

export function newConversation() {
    const now = Date.now();
    const root = { id: "root", parent: null, children: [], pick: null, role: "root" };
    return { id: newId(), title: "", named: false, created: now, updated: now, nodes: { root } };
}

export function addNode(conv, parentId, fields) {
    const node = { id: newId(), parent: parentId, children: [], pick: null, content: "", time: Date.now(), ...fields };
    const parent = conv.nodes[parentId];
    conv.nodes[node.id] = node;
    parent.children.push(node.id);
    parent.pick = node.id;
    return node;
}

/* The messages as they are seen, from first to last; or up to and with one of them. */
export function pathOf(conv, untilId) {
    const path = [];
    for (let node = conv.nodes[conv.nodes.root.pick]; node; node = conv.nodes[node.pick]) {
        path.push(node);
        if (node.id === untilId) break;
    }
    return path;
}

export function titleOf(conv) {
    return conv.title || "";
}

export function textOf(conv) {
    return Object.values(conv.nodes).map((node) => node.content || "").join("\n");
}

/* A file's text as a fenced block: the fence is longer than any in the text. */
export function fence(name, text) {
    const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map((match) => match[0].length));
    const bar = "`".repeat(longest + 1);
    const kind = /\.([A-Za-z0-9]+)$/.exec(name)?.[1] ?? "";
    return `${name}:\n${bar}${kind}\n${text}${text.endsWith("\n") ? "" : "\n"}${bar}`;
}

/* What the model is given for a message of the user: files first, then the words. */
export function contentOf(node) {
    const parts = (node.files || []).map((file) => fence(file.name, file.text));
    if (node.content) parts.push(node.content);
    return parts.join("\n\n");
}

/* --- the database ------------------------------------------------------------------------------------- */

function asPromise(request) {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
}

function openDatabase() {
    const request = indexedDB.open(DB, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("conversations", { keyPath: "id" });
    return asPromise(request);
}

function table(mode) {
    return db.transaction("conversations", mode).objectStore("conversations");
}

/* Read everything. False: there is no database (a private window, say), and conversations last as long as the page. */
export async function openStore() {
    try {
        db = await openDatabase();
        conversations.clear();
        for (const conv of await asPromise(table("readonly").getAll())) conversations.set(conv.id, conv);
        adoptRescue();
        for (const conv of conversations.values()) await settle(conv);
        return true;
    } catch {
        db = null;
        return false;
    }
}

/* Replies that nobody writes any more: the page was closed on them. Another tab may still be at it: it holds the reply's lock. */
async function settle(conv) {
    for (const node of Object.values(conv.nodes)) {
        if (node.state !== "running" || (await isHeld(lockName(node.id)))) continue;
        node.state = "stopped";
        await save(conv);
    }
}

/* The lock that is held by who writes a reply. */
export function lockName(id) {
    return `reply ${id}`;
}

async function isHeld(name) {
    const held = (await navigator.locks?.query())?.held ?? [];
    return held.some((lock) => lock.name === name);
}

export async function reload(id) {
    if (!db) return;
    const conv = await asPromise(table("readonly").get(id));
    if (conv) conversations.set(id, conv);
    else conversations.delete(id);
}

export async function save(conv) {
    conversations.set(conv.id, conv);
    if (db) await asPromise(table("readwrite").put(conv));
    tell(conv.id);
}

export async function remove(id) {
    conversations.delete(id);
    if (db) await asPromise(table("readwrite").delete(id));
    tell(id);
}

/* --- other tabs --------------------------------------------------------------------------------------- */

const channel = "BroadcastChannel" in window ? new BroadcastChannel("sputnik") : null;

function tell(id) {
    channel?.postMessage({ changed: id });
}

export function onChangeElsewhere(handle) {
    channel?.addEventListener("message", async (event) => {
        await reload(event.data.changed);
        handle(event.data.changed);
    });
}

/* --- replies cut off by a reload ---------------------------------------------------------------------- */

/* Called while the page goes away. */
export function rescue(runs) {
    const left = runs.map(({ conv, node }) => ({ conv: conv.id, ...node, state: "stopped" }));
    if (!left.length) return;
    try {
        localStorage.setItem(RESCUE, JSON.stringify(left));
    } catch {
        /* full: what the database had at the last save remains */
    }
}

function adoptRescue() {
    const left = JSON.parse(localStorage.getItem(RESCUE) || "[]");
    localStorage.removeItem(RESCUE);
    for (const { conv: convId, ...node } of left) {
        const conv = conversations.get(convId);
        const parent = conv?.nodes[node.parent];
        if (!parent) continue;
        conv.nodes[node.id] = { ...conv.nodes[node.id], ...node };
        if (!parent.children.includes(node.id)) parent.children.push(node.id);
        parent.pick = node.id;
        save(conv);
    }
}

/* --- in and out --------------------------------------------------------------------------------------- */

export function asMarkdown(conv) {
    const parts = [`# ${titleOf(conv)}`];
    for (const node of pathOf(conv)) {
        parts.push(`## ${node.role === "user" ? "User" : "Assistant"}`);
        if (node.reasoning) parts.push(node.reasoning.trim().split("\n").map((line) => `> ${line}`).join("\n"));
        parts.push(contentOf(node));
    }
    return parts.join("\n\n") + "\n";
}

export function asJson(list) {
    return JSON.stringify({ format: "sputnik-conversations", version: 1, conversations: list }, null, 2);
}

const ROLES = ["root", "user", "assistant"];

function text(value) {
    return typeof value === "string" ? value : "";
}

/* A node from a file that anybody may have written: only what is known, of the type it should have. */
function cleanNode(node, id) {
    const files = Array.isArray(node.files) ? node.files : [];
    return {
        id, parent: id === "root" ? null : text(node.parent), children: [], pick: text(node.pick) || null,
        role: ROLES.includes(node.role) ? node.role : "user", content: text(node.content), reasoning: text(node.reasoning),
        files: files.map((file) => ({ name: text(file?.name), text: text(file?.text) })),
        state: ["done", "stopped", "length"].includes(node.state) ? node.state : "done", time: Number(node.time) || Date.now(),
    };
}

function cleanConversation(conv) {
    const clean = newConversation();
    clean.title = text(conv.title);
    clean.named = Boolean(conv.named);
    clean.created = Number(conv.created) || clean.created;
    clean.updated = Number(conv.updated) || clean.updated;
    for (const [id, node] of Object.entries(conv.nodes)) {
        if (/^[\w-]{1,64}$/.test(id) && id !== "__proto__") clean.nodes[id] = cleanNode(node, id);
    }
    for (const node of Object.values(clean.nodes)) clean.nodes[node.parent]?.children.push(node.id);
    for (const node of Object.values(clean.nodes)) {
        if (!node.children.includes(node.pick)) node.pick = node.children.at(-1) ?? null;
    }
    return clean;
}

/* Takes in what asJson wrote; answers how many conversations it was. Throws on anything else. */
export async function importJson(source) {
    const data = JSON.parse(source);
    if (data?.format !== "sputnik-conversations" || !Array.isArray(data.conversations)) throw new Error("format");
    const list = data.conversations.map(cleanConversation);
    for (const conv of list) await save(conv);
    return list.length;
}
