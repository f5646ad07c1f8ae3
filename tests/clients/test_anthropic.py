# SPDX-License-Identifier: MIT
"""The `anthropic` package against a server of nano."""
import json
import os
import tempfile
import unittest

import anthropic

from serving import NAME, Server, keys

QUESTION = [{"role": "user", "content": "What is 47 * 36?"}]
TOOL = {"name": "get_weather", "description": "The weather of a place", "input_schema": {
    "type": "object", "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["days"],
    "additionalProperties": False}}


class AnthropicTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = anthropic.Anthropic(api_key="none", base_url=cls.server.url + "/anthropic", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def create(self, **more):
        return self.client.messages.create(**{"model": NAME, "messages": QUESTION, "max_tokens": 400, **more})

    def test_reply(self):
        reply = self.create()
        text = "".join(block.text for block in reply.content if block.type == "text")
        self.assertIn("1692", text)
        self.assertNotIn("think>", text)
        self.assertEqual((reply.type, reply.role, reply.stop_reason), ("message", "assistant", "end_turn"))
        self.assertGreater(reply.usage.input_tokens, 0)
        self.assertGreater(reply.usage.output_tokens, 0)

    def test_thinking(self):
        reply = self.create(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
        self.assertEqual([block.type for block in reply.content], ["thinking", "text"])
        self.assertIn("47*36", reply.content[0].thinking)
        # and back again in the next turn
        more = self.create(messages=QUESTION + [{"role": "assistant", "content": [b.model_dump() for b in reply.content]},
                                                {"role": "user", "content": "What is 2 + 3?"}])
        self.assertIn("5", more.content[-1].text)
        off = self.create(thinking={"type": "disabled"})
        self.assertNotIn("thinking", [block.type for block in off.content])

    def test_stream(self):
        whole = self.create()
        with self.client.messages.stream(model=NAME, messages=QUESTION, max_tokens=400) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual(text, "".join(b.text for b in whole.content if b.type == "text"))
        self.assertEqual(final.stop_reason, "end_turn")
        self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)
        kinds = [event.type for event in self.create(stream=True)]
        self.assertEqual(kinds[0], "message_start")
        self.assertEqual(kinds[-2:], ["message_delta", "message_stop"])
        self.assertEqual(kinds.count("content_block_start"), kinds.count("content_block_stop"))

    def test_stops(self):
        self.assertEqual(self.create(max_tokens=5).stop_reason, "max_tokens")
        reply = self.create(stop_sequences=[" = "])
        self.assertEqual((reply.stop_reason, reply.stop_sequence), ("stop_sequence", " = "))

    def test_system(self):
        self.assertIn("1692", self.create(system="Be short.").content[-1].text)

    def test_count(self):
        counted = self.client.messages.count_tokens(model=NAME, messages=QUESTION)
        used = self.create().usage
        self.assertEqual(counted.input_tokens, used.input_tokens + (used.cache_read_input_tokens or 0))

    def test_bare_path(self):
        with anthropic.Anthropic(api_key="none", base_url=self.server.url, max_retries=0) as client:
            self.assertEqual(client.messages.count_tokens(model=NAME, messages=QUESTION),
                             self.client.messages.count_tokens(model=NAME, messages=QUESTION))
            self.assertIn("1692", client.messages.create(model=NAME, messages=QUESTION, max_tokens=400).content[-1].text)
            with self.assertRaises(anthropic.NotFoundError) as caught:
                client.messages.create(model="claude-0", messages=QUESTION, max_tokens=10)
            self.assertEqual(caught.exception.body["error"]["type"], "not_found_error")

    def test_tools(self):
        reply = self.create(tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"})
        block = reply.content[-1]
        self.assertEqual((reply.stop_reason, block.type, block.name), ("tool_use", "tool_use", "get_weather"))
        self.assertTrue(1 <= block.input["days"] <= 9)
        more = self.create(tools=[TOOL], messages=QUESTION + [
            {"role": "assistant", "content": [block.model_dump(exclude_none=True)]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}]}])
        self.assertTrue(more.content is not None)
        with self.client.messages.stream(model=NAME, messages=QUESTION, max_tokens=400, tools=[TOOL],
                                         tool_choice={"type": "tool", "name": "get_weather"}) as stream:
            final = stream.get_final_message()
        self.assertEqual(final.content[-1].input, block.input)

    def test_errors(self):
        for kind, more in [(anthropic.NotFoundError, {"model": "claude-0"}), (anthropic.BadRequestError, {"messages": []}),
                           (anthropic.BadRequestError, {"extra_body": {"no_such": 1}}),
                           (anthropic.APIStatusError, {"extra_body": {"temperature": 5}})]:
            with self.subTest(more=more):
                with self.assertRaises(kind) as caught:
                    self.create(**more)
                self.assertEqual(caught.exception.body["type"], "error")
                self.assertTrue(caught.exception.body["error"]["message"])

    def test_key(self):
        with tempfile.TemporaryDirectory() as folder:
            store = os.path.join(folder, "keys.db")
            key = keys(store, "add")
            with Server("--keys", store) as server:
                for text, good in ((key, True), ("wrong", False)):
                    with anthropic.Anthropic(api_key=text, base_url=server.url + "/anthropic", max_retries=0) as client:
                        try:
                            client.messages.create(model=NAME, messages=QUESTION, max_tokens=10)
                            self.assertTrue(good)
                        except anthropic.AuthenticationError:
                            self.assertFalse(good)


if __name__ == "__main__":
    unittest.main()
