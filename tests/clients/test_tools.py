# SPDX-License-Identifier: MIT
"""Tool calls that a model writes by itself, as the `openai` and `anthropic` packages see them: in pieces, in one body, cut, and wrong."""
import contextlib
import json
import tempfile
import unittest

import anthropic
import openai

import scripted_model
from serving import NAME, Server

BEGIN, END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
QUESTION = [{"role": "user", "content": "What now?"}]
WEATHER, TIME = '{"place": "Zürich", "days": [3, {"of": "a"}], "why": "\\"}{ 🐻"}', '{"zone": {"of": "Bern"}}'
OPENAI_TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
                for name in ("get_weather", "get_time")]
ANTHROPIC_TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("get_weather", "get_time")]


def call(name, arguments):
    return f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"


def call_31(name, arguments):
    return f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"


def call_qwen(name, arguments):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


TWO = [("get_weather", WEATHER), ("get_time", TIME)]
SCRIPTS = [  # format, text, tokens of their own, content, calls
    ("v2.5", "Let me look. " + BEGIN + call(*TWO[0]) + "\n" + call(*TWO[1]) + END, (), "Let me look. ", TWO),
    ("v2.5", BEGIN + call(*TWO[0]) + END, scripted_model.TOOLS, "", TWO[:1]),
    ("r1", "Hmm.\n</think>\n\nSo: " + BEGIN + call(*TWO[0]) + END, scripted_model.TOOLS, "So: ", TWO[:1]),
    ("v3.1", BEGIN + call_31(*TWO[0]) + call_31(*TWO[1]) + END, (), "", TWO),
    ("qwen", "I see.\n" + call_qwen(*TWO[0]) + "\n" + call_qwen(*TWO[1]), (), "I see.\n", TWO),
]


class Scripted(contextlib.ExitStack):
    """A server of a model that says `text`, and both packages' clients."""

    def __init__(self, format, text, controls=()):
        super().__init__()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        scripted_model.write(folder, format, text, controls)
        self.server = self.enter_context(Server("--no-page", "--temp", "0", model=folder))
        self.openai = self.enter_context(openai.OpenAI(api_key="none", base_url=self.server.url + "/v1", max_retries=0))
        self.anthropic = self.enter_context(
            anthropic.Anthropic(api_key="none", base_url=self.server.url, max_retries=0))  # without /anthropic

    def chat(self, **more):
        return self.openai.chat.completions.create(**{"model": NAME, "messages": QUESTION, "tools": OPENAI_TOOLS, **more})

    def message(self, **more):
        return self.anthropic.messages.create(
            **{"model": NAME, "messages": QUESTION, "max_tokens": 500, "tools": ANTHROPIC_TOOLS, **more})


def join_chunks(test, stream):
    """Content, calls as (id, name, pieces of arguments), finish reason; the form of the deltas is checked."""
    content, calls, finish = "", [], None
    for chunk in stream:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for delta in choice.delta.tool_calls or []:
                if delta.id:
                    test.assertEqual((delta.index, delta.type, delta.function.arguments), (len(calls), "function", ""))
                    calls.append((delta.id, delta.function.name, []))
                else:
                    test.assertEqual((delta.index, delta.function.name), (len(calls) - 1, None))
                    test.assertTrue(delta.function.arguments)
                    calls[-1][2].append(delta.function.arguments)
    return content, calls, finish


class ToolsTest(unittest.TestCase):
    def check_openai(self, model, content, calls):
        message = model.chat().choices[0].message
        self.assertEqual([(c.function.name, c.function.arguments) for c in message.tool_calls], calls)
        self.assertEqual(message.content or "", content)
        streamed, pieces, finish = join_chunks(self, model.chat(stream=True))
        self.assertEqual((streamed, finish), (content, "tool_calls"))
        self.assertEqual([(name, "".join(parts)) for _, name, parts in pieces], calls)
        for _, _, parts in pieces:
            self.assertGreater(len(parts), 3)
        self.assertEqual(len({id for id, _, _ in pieces}), len(calls))
        with model.openai.chat.completions.stream(model=NAME, messages=QUESTION, tools=OPENAI_TOOLS) as stream:
            events = list(stream)
            final = stream.get_final_completion().choices[0]
        self.assertEqual(final.finish_reason, "tool_calls")
        self.assertEqual([(c.function.name, c.function.arguments) for c in final.message.tool_calls], calls)
        self.assertEqual([(e.name, e.arguments) for e in events if e.type == "tool_calls.function.arguments.done"], calls)
        deltas = [e.arguments_delta for e in events if e.type == "tool_calls.function.arguments.delta"]
        self.assertEqual("".join(deltas), "".join(arguments for _, arguments in calls))

    def check_anthropic(self, model, content, calls):
        want = [(name, json.loads(arguments)) for name, arguments in calls]
        whole = model.message()
        self.assertEqual([(b.name, b.input) for b in whole.content if b.type == "tool_use"], want)
        self.assertEqual("".join(b.text for b in whole.content if b.type == "text"), content)
        with model.anthropic.messages.stream(model=NAME, messages=QUESTION, max_tokens=500,
                                             tools=ANTHROPIC_TOOLS) as stream:
            parts = [e.partial_json for e in stream if e.type == "input_json"]
            final = stream.get_final_message()
        self.assertEqual("".join(parts), "".join(arguments for _, arguments in calls))
        self.assertGreater(len(parts), 3)
        self.assertEqual(final.stop_reason, "tool_use")
        self.assertEqual([(b.name, b.input) for b in final.content if b.type == "tool_use"], want)
        self.assertEqual("".join(b.text for b in final.content if b.type == "text"), content)
        starts = [e for e in model.message(stream=True) if e.type == "content_block_start"]
        self.assertEqual([e.content_block.input for e in starts if e.content_block.type == "tool_use"], [{}] * len(calls))

    def test_scripts(self):
        for format, text, controls, content, calls in SCRIPTS:
            with self.subTest(format=format, text=text), Scripted(format, text, controls) as model:
                self.check_openai(model, content, calls)
                self.check_anthropic(model, content, calls)

    def test_one_call(self):
        format, text, controls, _, calls = SCRIPTS[0]
        with Scripted(format, text, controls) as model:
            _, pieces, finish = join_chunks(self, model.chat(stream=True, parallel_tool_calls=False))
            self.assertEqual([(name, "".join(parts)) for _, name, parts in pieces], calls[:1])
            self.assertEqual(finish, "tool_calls")
            self.assertEqual(len(model.chat(parallel_tool_calls=False).choices[0].message.tool_calls), 1)

    def test_cut(self):
        format, text, controls, content, _ = SCRIPTS[0]
        with Scripted(format, text, controls) as model:
            n_before = next(n for n in range(1, 100) if model.chat(max_tokens=n).choices[0].message.tool_calls)
            for n in (n_before, n_before + 5):
                whole = model.chat(max_tokens=n).choices[0]
                streamed, pieces, finish = join_chunks(self, model.chat(stream=True, max_tokens=n))
                arguments = whole.message.tool_calls[0].function.arguments
                self.assertTrue(WEATHER.startswith(arguments) and arguments)
                self.assertEqual([(name, "".join(parts)) for _, name, parts in pieces], [("get_weather", arguments)])
                self.assertEqual((whole.finish_reason, finish, streamed), ("length", "length", content))
                cut = model.message(max_tokens=n)
                self.assertEqual((cut.stop_reason, cut.content[-1].input), ("max_tokens", {}))
            for n in range(1, n_before):
                self.assertEqual(model.chat(max_tokens=n).choices[0].finish_reason, "length")

    def test_wrong_json(self):
        wrong = '{"place": Bern, }'
        with Scripted("v2.5", BEGIN + call("get_weather", wrong) + END, scripted_model.TOOLS) as model:
            reply = model.chat().choices[0]
            self.assertEqual((reply.finish_reason, reply.message.tool_calls[0].function.arguments), ("tool_calls", wrong))
            _, pieces, _ = join_chunks(self, model.chat(stream=True))
            self.assertEqual("".join(pieces[0][2]), wrong)
            back = reply.message.model_dump(exclude_none=True)  # and the conversation can go on
            self.assertTrue(model.chat(messages=QUESTION + [back, {
                "role": "tool", "tool_call_id": back["tool_calls"][0]["id"], "content": "no JSON"}]).choices)
            self.assertEqual(model.message().content[-1].input, {"INVALID_JSON": wrong})
        with Scripted("v2.5", BEGIN + call("get_weather", "[1]") + END, scripted_model.TOOLS) as model:  # no object: no call
            reply = model.chat().choices[0]
            self.assertIsNone(reply.message.tool_calls)
            self.assertIn("[1]", reply.message.content)
            self.assertEqual(reply.finish_reason, "stop")

    def test_stray_tags(self):
        with Scripted("r1", "Hm.</think>\n\nSo <think>it is.") as model:
            message = model.chat().choices[0].message
            self.assertEqual((message.reasoning_content, message.content), ("Hm.", "So it is."))
            self.assertEqual(join_chunks(self, model.chat(stream=True)), ("So it is.", [], "stop"))
            self.assertEqual([b.type for b in model.message().content], ["thinking", "text"])


if __name__ == "__main__":
    unittest.main()
