/* SPDX-License-Identifier: MIT */
/* The model's text as a document. Nothing that a model writes is trusted. Four things stand between its text and the page:
 *   1. raw HTML in the Markdown is shown as text, but for a few tags without attributes;
 *   2. DOMPurify lets through the tags and attributes named below, and no others;
 *   3. a link stays one only with http, https or mailto, and its whole target is written beside it; an image becomes words;
 *   4. the page's Content-Security-Policy forbids foreign scripts, styles, images, frames, forms and connections.
 * Mathematics and colours of code are added after 2 by KaTeX and highlight.js, and pass a filter of their own. Libraries that the build
 * did not find are missing from `window`; without marked or DOMPurify text stays plain. */

import { copyText } from "./dom.js";
import { t } from "./i18n.js";

const TAGS = ["p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "del",
    "table", "thead", "tbody", "tr", "th", "td", "a", "sub", "sup", "kbd", "u", "mark", "s", "b", "i", "span"];
const ATTRIBUTES = ["href", "title", "class", "start", "align"];
const PURIFY = {
    ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ATTRIBUTES, ADD_URI_SAFE_ATTR: ["align", "start"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i, FORBID_TAGS: ["style", "math", "svg", "form", "input", "button", "img"], RETURN_DOM_FRAGMENT: true,
};
const CLASSES = /^(?:math|math-display|raw|image|language-[\w+#.-]{1,32}|hljs(?:-[a-z_]{1,32})+)$/;
const BARE_TAG = /^<\/?(?:br|sub|sup|kbd|u|mark|s|b|i|em|strong)\s*\/?>$/i;
const MATH_TAGS = new Set(("span svg path line g math semantics annotation mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle merror mpadded "
    + "mphantom mfenced menclose msub msup msubsup munder mover munderover mtable mtr mtd mlabeledtr mglyph").split(" "));
const HIGHLIGHT_MAX = 60000; /* characters of one block of code that are still coloured */
const MATH_MAX = 4000;

/* Debian 12's DOMPurify (2.4.1+dfsg) reads a variable that a security fix left undeclared, and so fails on everything. Declared, without
 * members, the check it stands in does nothing; the checks of depth that count are in the loops after it. */
globalThis.shadowNode ??= Object.freeze(Object.create(null));

/* Whether the sanitiser that was found does its work. If not, text stays plain. */
function isSound(candidate) {
    try {
        const box = document.createElement("div");
        box.append(candidate.sanitize("<b id=a hidden>c</b><img alt=d><script>e</script>", PURIFY));
        return box.firstChild.localName === "b" && !box.firstChild.attributes.length && box.childNodes.length === 1;
    } catch {
        return false;
    }
}

const purify = window.DOMPurify?.isSupported && isSound(window.DOMPurify) ? window.DOMPurify : null;
const marked = purify ? window.marked : null;
const katex = window.katex ?? null;
const hljs = window.hljs ?? null;

function escape(text) {
    return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/* --- Markdown ----------------------------------------------------------------------------------------- */

/* A formula at the start of `src`: [what it takes, the TeX, whether it is displayed]. `$` needs more care than the others, since it also
 * means money: no blank inside the marks, no digit after them. */
const FORMULAS = [
    [/^\$\$((?:\\[^]|[^\\$])+?)\$\$/, true], [/^\\\[([^]+?)\\\]/, true], [/^\\\(([^]+?)\\\)/, false],
    [/^\$(?![\s$])((?:\\[^]|[^\\$\n])*?[^\s\\$]|\\[^])\$(?!\d)/, false],
];

function matchFormula(src, displayedOnly) {
    for (const [pattern, display] of FORMULAS) {
        if (displayedOnly && !display) continue;
        const match = pattern.exec(src);
        if (match && match[1].length <= MATH_MAX) return { raw: match[0], tex: match[1].trim(), display };
    }
    return null;
}

function formulaHtml({ tex, display }) {
    return `<span class="math${display ? " math-display" : ""}">${escape(tex)}</span>`;
}

const mathInline = {
    name: "mathInline", level: "inline", renderer: formulaHtml,
    start: (src) => src.match(/\$|\\[([]/)?.index,
    tokenizer(src) {
        const found = matchFormula(src, false);
        return found ? { type: "mathInline", ...found } : undefined;
    },
};

const mathBlock = {
    name: "mathBlock", level: "block", renderer: (token) => `<p>${formulaHtml(token)}</p>`,
    start: (src) => src.match(/(?<=\n) *(?:\$\$|\\\[)/)?.index,
    tokenizer(src) {
        const indent = /^ {0,3}(?=\$\$|\\\[)/.exec(src)?.[0];
        if (indent === undefined) return undefined;
        const found = matchFormula(src.slice(indent.length), true);
        const rest = found && /^[ \t]*(?:\n+|$)/.exec(src.slice(indent.length + found.raw.length));
        return rest ? { type: "mathBlock", ...found, raw: indent + found.raw + rest[0] } : undefined;
    },
};

const renderer = {
    html: (html) => (BARE_TAG.test(html.trim()) ? html : `<span class="raw">${escape(html)}</span>`),
    image: (href, title, text) => `<span class="image">[${escape(text ? t("image", { alt: text }) : t("imageBare"))} – ${escape(href ?? "")}]</span>`,
    checkbox: (checked) => (checked ? "☑ " : "☐ "),
    code: (code, info) => `<pre><code class="language-${escape((info || "").split(/\s/)[0].slice(0, 32))}">${escape(code)}</code></pre>`,
};

/* Between digits a star is a product, not the beginning of emphasis. */
const tokenizer = {
    emStrong: (src, masked, before) => (/[\d)]/.test(before ?? "") && /^\*[\d(]/.test(src) ? { type: "text", raw: "*", text: "*" } : false),
};

/* Models mean the line breaks that they write. */
marked?.use({ gfm: true, breaks: true, headerIds: false, mangle: false, extensions: [mathBlock, mathInline], renderer, tokenizer });

/* --- sanitising --------------------------------------------------------------------------------------- */

purify?.addHook("uponSanitizeAttribute", (node, data) => {
    if (data.attrName !== "class") return;
    data.attrValue = data.attrValue.split(/\s+/).filter((name) => CLASSES.test(name)).join(" ");
    data.keepAttr = data.attrValue !== "";
});

/* HTML from anywhere → a harmless fragment. */
export function sanitize(html) {
    const fragment = purify.sanitize(html, PURIFY) ?? document.createDocumentFragment(); /* null: nothing but a frameset */
    for (const link of fragment.querySelectorAll("a")) showTarget(link);
    return fragment;
}

/* The address as it will be used: names in their ASCII form, nothing hidden before an @. */
function targetOf(href) {
    try {
        const url = new URL(href); /* without a base: relative addresses would lead into this server */
        if (url.protocol === "mailto:") return url.href;
        if (!/^https?:$/.test(url.protocol) || url.username || url.password) return null;
        return url.href;
    } catch {
        return null;
    }
}

function showTarget(link) {
    const written = link.getAttribute("href");
    const target = written && targetOf(written);
    const shown = document.createElement("span");
    shown.className = "link-target";
    if (!target) {
        if (written) shown.textContent = ` (${written})`;
        link.replaceWith(...link.childNodes, shown);
        return;
    }
    link.setAttribute("href", target);
    link.setAttribute("rel", "noopener noreferrer nofollow");
    link.setAttribute("target", "_blank");
    link.title = target;
    const text = link.textContent.trim();
    if (text === target || text + "/" === target || `mailto:${text}` === target) return;
    shown.textContent = ` (${decodeForReading(target)})`;
    link.after(shown);
}

/* Percent-encoded letters are no use to a reader, but nothing that could pass for a part of the address is decoded. */
function decodeForReading(target) {
    return target.replace(/(?:%[89A-F][0-9A-F])+/gi, (part) => {
        try {
            return decodeURIComponent(part).replace(/[^\p{L}\p{N}]/gu, encodeURIComponent);
        } catch {
            return part;
        }
    });
}

/* --- what comes after --------------------------------------------------------------------------------- */

function scrubMath(root) {
    for (const el of [...root.querySelectorAll("*")]) {
        if (!MATH_TAGS.has(el.localName)) el.remove();
        else for (const { name } of [...el.attributes]) if (/^on|href|src|^id$/i.test(name)) el.removeAttribute(name);
    }
}

function typeset(el) {
    const tex = el.textContent;
    const display = el.classList.contains("math-display");
    const box = document.createElement("span");
    try {
        katex.render(tex, box, { displayMode: display, throwOnError: true, trust: false, strict: "ignore", maxExpand: 300, maxSize: 30 });
        scrubMath(box);
        box.className = el.className;
        el.replaceWith(box);
    } catch {
        el.classList.add("math-source"); /* not (yet) a formula: its source */
    }
}

function colour(code, language) {
    const text = code.textContent;
    if (!hljs || !hljs.getLanguage(language) || text.length > HIGHLIGHT_MAX) return;
    try {
        code.replaceChildren(sanitize(hljs.highlight(language, text, true).value));
    } catch {
        /* a grammar that fails leaves the code as it is */
    }
}

function copyButton(code) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-code";
    button.textContent = t("copy");
    button.setAttribute("aria-label", t("copyCode"));
    button.addEventListener("click", async () => {
        if (!(await copyText(code.textContent))) return;
        button.textContent = t("copied");
        setTimeout(() => (button.textContent = t("copy")), 1500);
    });
    return button;
}

/* A frame with the language's name and a copy button around a block of code. */
function frame(pre) {
    const code = pre.querySelector("code");
    if (!code) return;
    const language = /language-(\S+)/.exec(code.className)?.[1] ?? "";
    const box = document.createElement("div");
    const head = document.createElement("div");
    const name = document.createElement("span");
    box.className = "code";
    head.className = "code-head";
    name.textContent = language;
    colour(code, language.toLowerCase());
    pre.tabIndex = 0; /* wide code is scrolled with the keyboard */
    head.append(name, copyButton(code));
    pre.replaceWith(box);
    box.append(head, pre);
}

function finish(fragment) {
    if (katex) fragment.querySelectorAll(".math").forEach(typeset);
    fragment.querySelectorAll("pre").forEach(frame);
    for (const table of fragment.querySelectorAll("table")) {
        const box = document.createElement("div");
        box.className = "table";
        box.tabIndex = 0;
        table.replaceWith(box);
        box.append(table);
    }
    return fragment;
}

/* --- the view ----------------------------------------------------------------------------------------- */

/* Keeps the Markdown of a growing text in `el`: of its blocks, only those whose source has changed are made anew. */
export class MarkdownView {
    constructor(el) {
        this.el = el;
        this.blocks = []; /* [{raw, el}] */
        el.classList.add("markdown");
    }

    update(text) {
        if (!marked) {
            this.el.classList.add("plain");
            this.el.textContent = text;
            return;
        }
        const tokens = marked.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
        tokens.forEach((token, i) => this.place(token, i));
        for (const { el } of this.blocks.splice(tokens.length)) el.remove();
    }

    place(token, i) {
        const old = this.blocks[i];
        if (old?.raw === token.raw) return;
        const el = document.createElement("div");
        el.className = "block";
        el.append(finish(sanitize(marked.parser([token]))));
        if (old) old.el.replaceWith(el);
        else this.el.append(el);
        this.blocks[i] = { raw: token.raw, el };
    }
}
