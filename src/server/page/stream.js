/* SPDX-License-Identifier: MIT */
/* The server as the page sees it: one reply as a stream of parts, and the list of models. No DOM. */

/* What went wrong, by a word that i18n.js has plain words for; `detail` is what the server said. */
export class ServerError extends Error {
    constructor(kind, status, detail, wait) {
        super(detail || kind);
        this.kind = kind;
        this.status = status;
        this.detail = detail || "";
        this.wait = wait;
    }
}

const KINDS = { 400: "invalid", 401: "key", 402: "balance", 403: "key", 404: "missing", 413: "large", 422: "invalid", 429: "busy", 503: "busy" };

async function failure(response) {
    let detail = "";
    try {
        detail = (await response.json()).error?.message ?? "";
    } catch {
        /* no JSON: the status has to do */
    }
    const kind = KINDS[response.status] ?? "server";
    return new ServerError(kind, response.status, detail, Number(response.headers.get("retry-after")) || 0);
}

async function ask(path, key, options) {
    const headers = { ...options.headers };
    if (key) headers.authorization = `Bearer ${key}`;
    let response;
    try {
        response = await fetch(path, { ...options, headers, credentials: "omit", referrerPolicy: "no-referrer" });
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new ServerError("network", 0, "");
    }
    if (!response.ok) throw await failure(response);
    return response;
}

export async function listModels(key) {
    const answer = await (await ask("v1/models", key, {})).json();
    return (answer.data ?? []).map((model) => model.id);
}

/* The `data:` fields of a stream of server-sent events. Comment lines, which only show that the server lives, are passed over. */
async function* eventsOf(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + value).split(/\r?\n/);
        rest = lines.pop();
        for (const line of lines) {
            if (line.startsWith("data:")) yield line.slice(5).trimStart();
        }
    }
}

/* Yields {reasoning}, {content}, {finish} and {usage} as they come. A stream that ends before its [DONE] throws kind "cut". */
export async function* streamReply(path, body, key, signal) {
    const response = await ask(path, key, {
        method: "POST", signal, headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    });
    try {
        for await (const data of eventsOf(response.body)) {
            if (data === "[DONE]") return;
            yield* partsOf(JSON.parse(data));
        }
    } catch (error) {
        if (error.name === "AbortError" || error instanceof ServerError) throw error;
        throw new ServerError("cut", 0, "");
    }
    throw new ServerError("cut", 0, "");
}

function* partsOf(chunk) {
    if (chunk.error) throw new ServerError("server", 500, chunk.error.message);
    const choice = chunk.choices?.[0];
    if (choice?.delta?.reasoning_content) yield { reasoning: choice.delta.reasoning_content };
    if (choice?.delta?.content) yield { content: choice.delta.content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (chunk.usage) yield { usage: chunk.usage };
}
