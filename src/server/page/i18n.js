/* SPDX-License-Identifier: MIT */
/* The page's words in English and Chinese. Elements carry data-t (text), data-t-label (name and tooltip) or data-t-placeholder. */

const en = {
    skip: "Skip to the message", conversations: "Conversations", conversation: "Conversation", closeMenu: "Close the list", menu: "List of conversations",
    newChat: "New chat", search: "Search", settings: "Settings", model: "Model", toBottom: "To the end", ask: "Ask anything",
    attach: "Add text files", send: "Send", stop: "Stop", close: "Close", dropHere: "Drop text files here", untitled: "New chat",
    fine: "Models make mistakes. Conversations stay in this browser.",
    welcome: "What shall we work on?", welcomeText: "The model runs on your server. Nothing you write leaves it.",
    today: "Today", week: "Past seven days", older: "Older", nothingFound: "Nothing found", noConversations: "Your conversations will appear here.",
    thinking: "Thinking", thinkingNow: "Thinking", thoughtFor: "Thought for {time}", thoughtStopped: "Thought for {time}, then stopped",
    you: "You", assistant: "Answer", copy: "Copy", copied: "Copied", copyCode: "Copy code", regenerate: "Another answer", edit: "Edit",
    continue: "Continue", cancel: "Cancel", saveSend: "Send", save: "Save", previous: "Previous version", next: "Next version",
    versionOf: "Version {n} of {all}", more: "More", rename: "Rename", exportMarkdown: "Export as Markdown", exportJson: "Export as JSON",
    delete: "Delete", deleted: "Conversation deleted", undo: "Undo", removeFile: "Remove {name}", waiting: "Waiting for the first word",
    stoppedHere: "Stopped", cutHere: "Ended at the length limit", retry: "Try again", giveKey: "Enter a key",
    speed: "{n} tokens/s", first: "first after {time}", tokens: "{n} tokens", ofThinking: "{n} of them thinking",
    prompt: "prompt {n}", cached: "{n} cached",
    forModel: "What the model is told", system: "System prompt", systemHint: "None", budget: "Thinking budget (tokens)",
    noLimit: "No limit", maxTokens: "Longest reply (tokens)", temperature: "Temperature (0 to 2)", topP: "Top-p (0 to 1)",
    serverDefault: "Server's choice", seed: "Seed", random: "Random", stopAt: "Stop at (one per line)",
    samplingNote: "Empty fields leave the choice to the server. The system prompt belongs to this conversation and to new ones.",
    thisPage: "This page", theme: "Appearance", themeAuto: "As the system", themeLight: "Light", themeDark: "Dark",
    language: "Language", langAuto: "As the browser", apiKey: "API key", apiKeyHint: "Only if the server asks for one",
    keyNote: "The key is kept in this browser and sent to this server only.", data: "Conversations", exportAll: "Export all",
    import: "Import", deleteAll: "Delete all", deleteAllSure: "Delete all conversations in this browser? This cannot be undone.",
    imported: "Conversations taken in: {n}", importFailed: "This is not a file of conversations.",
    keys: "Keyboard", keySend: "Send", keyLine: "New line", keyStop: "Stop the reply", keyNew: "New chat", keySide: "List of conversations",
    keyEdit: "Edit the last message (in an empty field)", outOfRange: "From {min} to {max}",
    tooLarge: "{name} is too large: at most {max}.", notText: "{name} is not a text file.", tooMany: "At most {n} files.",
    saidStarted: "The answer begins.", saidDone: "The answer is complete.", saidStopped: "The answer was stopped.", saidThinking: "The model is thinking.",
    noStore: "This browser keeps no data for the page: conversations will be lost when it closes.",
    noLink: "link to {target}", image: "image: {alt}", imageBare: "image",
    err_network: "The server cannot be reached.", err_key: "The server asks for a valid API key.",
    err_balance: "The budget of this API key is spent.", err_busy: "The server is busy.", err_invalid: "The server did not accept the request.",
    err_large: "The conversation is too large for the server.", err_missing: "The server does not know this.",
    err_server: "The server made a mistake.", err_cut: "The answer broke off: the connection was lost.", err_empty: "The model said nothing.",
    tryAfter: "Try again in {n} s.",
    licences: "Licences of the libraries in this page",
    start1: "What is 47 * 36?", start2: "Sort these numbers: 83, 12, 57, 4", start3: "Which is larger, 9.11 or 9.9?",
};

const zh = {
    skip: "跳到输入框", conversations: "对话列表", conversation: "对话", closeMenu: "关闭列表", menu: "对话列表",
    newChat: "新对话", search: "搜索", settings: "设置", model: "模型", toBottom: "到底部", ask: "请输入问题",
    attach: "添加文本文件", send: "发送", stop: "停止", close: "关闭", dropHere: "把文本文件拖到这里", untitled: "新对话",
    fine: "模型可能出错。对话只保存在此浏览器中。",
    welcome: "想聊点什么？", welcomeText: "模型运行在你的服务器上，你写的内容不会外传。",
    today: "今天", week: "最近七天", older: "更早", nothingFound: "没有找到", noConversations: "对话会显示在这里。",
    thinking: "思考", thinkingNow: "思考中", thoughtFor: "思考了 {time}", thoughtStopped: "思考了 {time} 后停止",
    you: "你", assistant: "回答", copy: "复制", copied: "已复制", copyCode: "复制代码", regenerate: "重新回答", edit: "编辑",
    continue: "继续", cancel: "取消", saveSend: "发送", save: "保存", previous: "上一版本", next: "下一版本",
    versionOf: "第 {n} 版，共 {all} 版", more: "更多", rename: "重命名", exportMarkdown: "导出为 Markdown", exportJson: "导出为 JSON",
    delete: "删除", deleted: "对话已删除", undo: "撤销", removeFile: "移除 {name}", waiting: "等待第一个字",
    stoppedHere: "已停止", cutHere: "已达长度上限", retry: "重试", giveKey: "输入密钥",
    speed: "{n} 词元/秒", first: "首字 {time}", tokens: "{n} 词元", ofThinking: "其中思考 {n}",
    prompt: "提示 {n}", cached: "缓存 {n}",
    forModel: "给模型的设定", system: "系统提示词", systemHint: "无", budget: "思考预算（词元）",
    noLimit: "不限", maxTokens: "回答上限（词元）", temperature: "温度（0 到 2）", topP: "Top-p（0 到 1）",
    serverDefault: "由服务器决定", seed: "随机种子", random: "随机", stopAt: "停止词（每行一个）",
    samplingNote: "留空则由服务器决定。系统提示词用于当前对话和以后的新对话。",
    thisPage: "页面", theme: "外观", themeAuto: "跟随系统", themeLight: "浅色", themeDark: "深色",
    language: "语言", langAuto: "跟随浏览器", apiKey: "API 密钥", apiKeyHint: "仅在服务器要求时填写",
    keyNote: "密钥只保存在此浏览器中，只发送给此服务器。", data: "对话数据", exportAll: "全部导出",
    import: "导入", deleteAll: "全部删除", deleteAllSure: "删除此浏览器中的全部对话？此操作无法撤销。",
    imported: "已导入 {n} 个对话", importFailed: "这不是对话文件。",
    keys: "快捷键", keySend: "发送", keyLine: "换行", keyStop: "停止回答", keyNew: "新对话", keySide: "对话列表",
    keyEdit: "编辑上一条消息（输入框为空时）", outOfRange: "应在 {min} 到 {max} 之间",
    tooLarge: "{name} 太大：最多 {max}。", notText: "{name} 不是文本文件。", tooMany: "最多 {n} 个文件。",
    saidStarted: "开始回答。", saidDone: "回答完成。", saidStopped: "回答已停止。", saidThinking: "模型正在思考。",
    noStore: "此浏览器不为本页保存数据：关闭后对话会丢失。",
    noLink: "链接到 {target}", image: "图片：{alt}", imageBare: "图片",
    err_network: "无法连接服务器。", err_key: "服务器需要有效的 API 密钥。",
    err_balance: "此 API 密钥的额度已用完。", err_busy: "服务器繁忙。", err_invalid: "服务器没有接受这个请求。",
    licences: "本页所用程序库的许可证",
    err_large: "对话太长，服务器无法处理。", err_missing: "服务器没有这个接口。",
    err_server: "服务器出错了。", err_cut: "回答中断：连接已断开。", err_empty: "模型没有回答。",
    tryAfter: "请在 {n} 秒后重试。",
    start1: "What is 47 * 36?", start2: "Sort these numbers: 83, 12, 57, 4", start3: "Which is larger, 9.11 or 9.9?",
};

const LANGUAGES = { en, zh };
let words = en;
export let language = "en";

export function chooseLanguage(wanted) {
    language = wanted in LANGUAGES ? wanted : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
    words = LANGUAGES[language];
    document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
    translate(document);
}

export function t(name, values = {}) {
    return (words[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

export function hasWord(name) {
    return name in words;
}

export function translate(root) {
    for (const el of root.querySelectorAll("[data-t]")) el.textContent = t(el.dataset.t);
    for (const el of root.querySelectorAll("[data-t-placeholder]")) el.placeholder = t(el.dataset.tPlaceholder);
    for (const el of root.querySelectorAll("[data-t-label]")) {
        el.setAttribute("aria-label", t(el.dataset.tLabel));
        if (el.tagName === "BUTTON") el.title = t(el.dataset.tLabel);
    }
}

export function duration(ms) {
    const s = ms / 1000;
    if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
    return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
}
