# SPDX-License-Identifier: MIT
"""Conversations rendered by the published templates with Jinja2, set up as transformers does.

    python make_templates.py SHARED_DATA OUT_DIR

OUT_DIR/<name>.json is a list of
    {"format", "template", "case", "think": "auto|on|off", "add_generation_prompt", "messages", "tools"?, "expected"}
where format is the family's (llm, coder, v2.5, r1, r1-0528, v3.1, qwen), or null for a template that no member of the
family was trained on. "departs" names a known defect of the published template in that case: the family's rule gives
another text (its corrected form stands in by-hand.json). by-hand.json holds what no published Jinja file covers,
written out from the descriptions of the formats.
v3.1.json is V3.1's template with its non-thinking mark put back to the vendor's `</think>`; the copy at hand, rendered
as it is in v3.1-copy.json, has `<think></think>`. Tool arguments are JSON text in the goldens; templates that apply
`tojson` to them get the parsed value.
"""
import copy
import datetime
import json
import pathlib
import sys

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

import conversations as c

BOS, EOS, U, A = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        x = list(x) if hasattr(x, "__next__") else x  # llama.cpp's engine writes a lazy map as a list
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def refuse(text):
        raise TemplateError(text)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda f: datetime.datetime(2025, 1, 20).strftime(f)
    return env


class Published:
    def __init__(self, name, source, fmt, *, parse=False, flag=None):
        """parse: arguments go in as objects; flag: the template's variable for thinking."""
        self.name, self.fmt, self.parse, self.flag = name, fmt, parse, flag
        self.template = environment().from_string(source)
        self.cases = []

    def render(self, messages, tools, think, generate):
        messages = copy.deepcopy(messages)
        for m in messages:
            for call in m.get("tool_calls", []):
                if self.parse:
                    call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        extra = {} if think == "auto" or not self.flag else {self.flag: think == "on"}
        return self.template.render(messages=messages, tools=tools, add_generation_prompt=generate, bos_token=BOS,
                                    eos_token=EOS, **extra)

    def add(self, case, messages, *, tools=None, thinks=("auto",), departs=None):
        for think in thinks:
            for generate in (True, False):
                out = {"format": self.fmt, "template": self.name, "case": case, "think": think,
                       "add_generation_prompt": generate, "messages": messages}
                if tools:
                    out["tools"] = tools
                if departs:
                    out["departs"] = departs
                out["expected"] = self.render(messages, tools, think, generate)
                self.cases.append(out)

    def add_chats(self, **options):
        for case, messages in c.CHATS.items():
            self.add(case, messages, **options)
        return self


def distill_llama(source):
    t = Published("DeepSeek-R1-Distill-Llama-8B", source, "r1").add_chats()
    t.add("two closing tags", c.TWICE_CLOSED)
    t.add("two system messages", c.TWO_SYSTEMS)
    for case, m in c.tool_chats(None).items():
        if case == "text and call":
            continue  # this template drops the calls of a message that has content
        single = "two calls" not in case
        t.add(case, m, departs="the end of the calls is written only after a second call" if single else None)
    return t


def distill_qwen(source):
    t = Published("DeepSeek-R1-Distill-Qwen-32B", source, "r1", parse=True, flag="enable_thinking").add_chats(thinks=("on",))
    for case, m in c.tool_chats(None).items():
        if case == "text and call":
            continue  # renders the content a second time
        t.add(case, m, thinks=("on",), departs="state is not reset in the second round" if "rounds" in case else None)
    return t


def v3(source, fmt):
    t = Published("DeepSeek-V3/R1 tokenizer_config", source, fmt).add_chats()
    t.add("two closing tags", c.TWICE_CLOSED)
    t.add("two system messages", c.TWO_SYSTEMS)
    for case, m in c.tool_chats(None).items():
        t.add(case, m, departs="state is not reset in the second round" if "rounds" in case else None)
    return t


def v31(source, name):
    t = Published(name, source, "v3.1", parse=True, flag="thinking").add_chats(thinks=("auto", "on", "off"))
    t.add("two closing tags", c.TWICE_CLOSED, thinks=("on", "off"))
    t.add("two system messages", c.TWO_SYSTEMS, thinks=("on", "off"))
    for case, m in c.tool_chats(None).items():
        t.add(case, m, thinks=("on", "off"))
    return t


def qwen(source, name, flag):
    t = Published(name, source, "qwen", parse=True, flag=flag).add_chats(thinks=("auto", "off") if flag else ("auto",))
    if flag:
        with_reasoning = [c.user("a"), c.assistant("b", reasoning_content="x\ny"), c.user("c"), c.assistant("d", reasoning_content="z")]
        t.add("reasoning beside the content", with_reasoning)
    t.add("tools", c.CHATS["system, user"], tools=c.TOOLS)
    t.add("tools, no system", c.CHATS["user"], tools=c.TOOLS)
    for case, m in c.tool_chats("").items():
        t.add(case, m, tools=c.TOOLS)
    return t


def by_hand():
    """Formats without a Jinja file, and the rules where published files are defective."""
    out = []

    def add(fmt, case, messages, expected, generate=True, think="auto"):
        out.append({"format": fmt, "template": "by hand", "case": case, "think": think, "add_generation_prompt": generate,
                    "messages": messages, "expected": expected})

    coder = ("You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeek Company, and you "
             "only answer questions related to computer science. For politically sensitive questions, security and privacy "
             "issues, and other non-computer science questions, you will refuse to answer.")
    add("coder", "user", [c.user("a")], f"{BOS}{coder}\n### Instruction:\na\n### Response:\n")
    add("coder", "system, user", [c.system("S"), c.user("a")], f"{BOS}S\n### Instruction:\na\n### Response:\n")
    turns = [c.user("a"), c.assistant("b"), c.user("c")]
    add("coder", "two turns", turns,
        f"{BOS}{coder}\n### Instruction:\na\n### Response:\nb\n<|EOT|>\n### Instruction:\nc\n### Response:\n")
    add("coder", "two turns, no generation prompt", turns,
        f"{BOS}{coder}\n### Instruction:\na\n### Response:\nb\n<|EOT|>\n### Instruction:\nc\n", False)

    name, args = c.KOELN
    call = lambda n, a: f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{n}\n```json\n{a}\n```<｜tool▁call▁end｜>"
    calls = lambda x: f"<｜tool▁calls▁begin｜>{x}<｜tool▁calls▁end｜>{EOS}"
    output = lambda x: f"<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>{x}<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"
    one = f"{U}Weather in Köln?{A}{calls(call(name, args))}"
    two = f"{U}Time?{A}{calls(call(*c.NOW))}{output('12:00')}Noon.{EOS}{U}Bye{A}"
    chats = c.tool_chats(None)
    for fmt, open_think in (("v2.5", ""), ("r1", "<think>\n"), ("r1-0528", "")):
        add(fmt, "call", chats["call"], f"{BOS}{one}", False)
        add(fmt, "call, output", chats["call, output"], f"{BOS}{one}{output(c.RAIN)}")
        add(fmt, "system, call, output", chats["system, call, output"], f"{BOS}S{one}{output(c.RAIN)}")
        add(fmt, "text and call", chats["text and call"],
            f"{BOS}{U}Weather in Köln?{A}Let me look.{calls(call(name, args))}{output(c.RAIN)}")
        add(fmt, "call, output, answer, user", chats["call, output, answer, user"],
            f"{BOS}{one}{output(c.RAIN)}Rain.{EOS}{U}Thanks{A}{open_think}")
        add(fmt, "two rounds", chats["two rounds"], f"{BOS}{one}{output(c.RAIN)}Rain.{EOS}{two}{open_think}")
    add("llm", "mathematics", [c.user("1+1?\nPlease reason step by step, and put your final answer within \\boxed{}.")],
        f"{BOS}User: 1+1?\nPlease reason step by step, and put your final answer within \\boxed{{}}.\n\nAssistant:")
    return out


def main(shared, out_dir):
    shared, out = pathlib.Path(shared), pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    jinja = lambda name: (shared / "templates" / f"{name}.jinja").read_text()
    inside = lambda name: json.loads((shared / "tokenizers" / name / "tokenizer_config.json").read_text())["chat_template"]
    v31_source = jinja("deepseek-ai-DeepSeek-V3.1")
    llama_cpp = Published("llama-cpp-deepseek-r1", jinja("llama-cpp-deepseek-r1"), None, parse=True).add_chats()
    for case, m in c.tool_chats(None).items():
        llama_cpp.add(case, m, tools=c.TOOLS)
    made = {
        "llm": Published("DeepSeek-V2 tokenizer_config", inside("deepseek-v2"), "llm").add_chats(),
        "v3": v3(inside("deepseek-v3-r1"), "v2.5"),
        "r1-distill-llama": distill_llama(jinja("deepseek-ai-DeepSeek-R1-Distill-Llama-8B")),
        "r1-distill-qwen": distill_qwen(jinja("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B")),
        "v3.1": v31(v31_source.replace("<think></think>", "</think>"), "DeepSeek-V3.1, vendor's mark"),
        "v3.1-copy": v31(v31_source, "DeepSeek-V3.1 as copied"),
        "qwen2.5": qwen(jinja("Qwen-Qwen2.5-7B-Instruct"), "Qwen2.5-7B-Instruct", None),
        "qwen3": qwen(jinja("Qwen-Qwen3-0.6B"), "Qwen3-0.6B", "enable_thinking"),
        "llama-cpp-r1": llama_cpp,
    }
    for case in made["v3.1-copy"].cases:
        case["format"] = None
    lists = {name: t.cases for name, t in made.items()} | {"by-hand": by_hand()}
    for name, cases in lists.items():
        lines = ",\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) for x in cases)
        (out / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        print(f"{name}: {len(cases)} cases")


if __name__ == "__main__":
    main(*sys.argv[1:3])
