# SPDX-License-Identifier: MIT
"""The `openai` package against a server of nano: what its users see, and what its error classes say."""
import asyncio
import json
import os
import tempfile
import unittest

import openai
import pydantic

from serving import NAME, Server, keys

QUESTION = [{"role": "user", "content": "What is 47 * 36?"}]
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 12},
                                                    "days": {"type": "integer", "minimum": 1, "maximum": 9}},
                   "required": ["place", "days"], "additionalProperties": False}}}


class Point(pydantic.BaseModel):
    x: int = pydantic.Field(ge=0, le=99)
    y: int = pydantic.Field(ge=0, le=99)


class OpenAITest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--alias", "deepseek-chat", "--slots", "4")
        cls.client = openai.OpenAI(api_key="none", base_url=cls.server.url + "/v1", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def create(self, **more):
        return self.client.chat.completions.create(**{"model": NAME, "messages": QUESTION, "temperature": 0, **more})

    def test_reply(self):
        reply = self.create()
        message = reply.choices[0].message
        self.assertEqual(reply.object, "chat.completion")
        self.assertEqual(reply.model, NAME)
        self.assertEqual(reply.choices[0].finish_reason, "stop")
        self.assertIn("1692", message.content)
        self.assertIn("47*36", message.reasoning_content)
        for text in (message.content, message.reasoning_content):
            self.assertNotIn("think>", text)
            self.assertNotIn("｜", text)
        used = reply.usage
        self.assertEqual(used.prompt_tokens + used.completion_tokens, used.total_tokens)
        self.assertEqual(used.prompt_cache_hit_tokens + used.prompt_cache_miss_tokens, used.prompt_tokens)
        self.assertEqual(used.prompt_tokens_details.cached_tokens, used.prompt_cache_hit_tokens)
        self.assertTrue(0 < used.completion_tokens_details.reasoning_tokens < used.completion_tokens)

    def collect(self, stream):
        reasoning = content = ""
        finish = used = None
        began_content = False
        for chunk in stream:
            self.assertEqual(chunk.object, "chat.completion.chunk")
            if chunk.usage:
                used = chunk.usage
            for choice in chunk.choices:
                thought = getattr(choice.delta, "reasoning_content", None)
                if thought:
                    self.assertFalse(began_content, "reasoning after content")
                    self.assertIsNone(choice.delta.content)
                    reasoning += thought
                if choice.delta.content:
                    began_content = True
                    content += choice.delta.content
                finish = choice.finish_reason or finish
        return reasoning, content, finish, used

    def test_stream(self):
        whole = self.create()
        reasoning, content, finish, used = self.collect(
            self.create(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(reasoning, whole.choices[0].message.reasoning_content)
        self.assertEqual(content, whole.choices[0].message.content)
        self.assertEqual(finish, "stop")
        self.assertEqual(used.completion_tokens, whole.usage.completion_tokens)

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model=NAME, messages=QUESTION, temperature=0) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertIn("content.delta", kinds)
        self.assertIn("1692", final.choices[0].message.content)

    def test_async(self):
        async def ask_all():
            async with openai.AsyncOpenAI(api_key="none", base_url=self.server.url, max_retries=0) as client:
                replies = await asyncio.gather(*[client.chat.completions.create(
                    model=NAME, temperature=0, messages=[{"role": "user", "content": f"What is {i} + 20?"}])
                    for i in range(10, 22)])
                stream = await client.chat.completions.create(model=NAME, messages=QUESTION, temperature=0, stream=True)
                text = ""
                async for chunk in stream:
                    text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                return replies, text
        replies, text = asyncio.run(ask_all())
        for i, reply in zip(range(10, 22), replies):
            self.assertIn(str(i + 20), reply.choices[0].message.content)
        self.assertIn("1692", text)

    def test_seed(self):
        more = {"temperature": 2, "max_tokens": 60, "messages": [{"role": "user", "content": "xyzzy"}]}
        first, again, other = [self.create(seed=seed, **more).choices[0].message for seed in (5, 5, 6)]
        self.assertEqual(first.content, again.content)
        self.assertEqual(first.reasoning_content, again.reasoning_content)
        self.assertNotEqual((first.content, first.reasoning_content), (other.content, other.reasoning_content))

    def test_many(self):
        reply = self.create(n=3, temperature=2, seed=1, max_tokens=40, messages=[{"role": "user", "content": "xyzzy"}])
        self.assertEqual([choice.index for choice in reply.choices], [0, 1, 2])
        texts = {str(choice.message.reasoning_content) + str(choice.message.content) for choice in reply.choices}
        self.assertGreater(len(texts), 1)
        self.assertEqual(reply.usage.prompt_tokens + reply.usage.completion_tokens, reply.usage.total_tokens)

    def test_length(self):
        reply = self.create(max_tokens=5)
        self.assertEqual(reply.choices[0].finish_reason, "length")
        self.assertEqual(reply.usage.completion_tokens, 5)
        self.assertEqual(self.create(max_completion_tokens=7, max_tokens=openai.omit
                                     if hasattr(openai, "omit") else openai.NOT_GIVEN).usage.completion_tokens, 7)

    def test_stop(self):
        whole = self.create().choices[0].message.content
        cut = self.create(stop=[" = "]).choices[0]
        self.assertEqual(cut.message.content, whole.split(" = ")[0])
        self.assertEqual(cut.finish_reason, "stop")

    def test_logprobs(self):
        reply = self.create(logprobs=True, top_logprobs=3)
        entries = reply.choices[0].logprobs.content
        self.assertGreater(len(entries), 0)
        for entry in entries:
            self.assertLessEqual(entry.logprob, 0)
            self.assertLessEqual(len(entry.top_logprobs), 3)
            self.assertEqual(max(top.logprob for top in entry.top_logprobs), entry.logprob)  # greedy
        text = b"".join(bytes(entry.bytes) for entry in entries).decode()
        self.assertIn(reply.choices[0].message.content, text)

    def test_thinking_switch(self):
        reply = self.create(extra_body={"thinking": {"type": "disabled"}})
        self.assertFalse(getattr(reply.choices[0].message, "reasoning_content", None))
        self.assertEqual(reply.usage.completion_tokens_details.reasoning_tokens, 0)

    def test_round_trip_of_reasoning(self):
        first = self.create().choices[0].message
        back = first.model_dump(exclude_none=True)
        self.assertIn("reasoning_content", back)
        reply = self.create(messages=QUESTION + [back, {"role": "user", "content": "What is 2 + 3?"}])
        self.assertIn("5", reply.choices[0].message.content)
        without = {"role": "assistant", "content": first.content}
        other = self.create(messages=QUESTION + [without, {"role": "user", "content": "What is 2 + 3?"}])
        self.assertEqual(reply.usage.prompt_tokens, other.usage.prompt_tokens)  # old reasoning is not fed back

    def test_prefix(self):
        beta = self.client.with_options(base_url=self.server.url + "/beta")
        thought = self.create().choices[0].message.reasoning_content
        reply = beta.chat.completions.create(model=NAME, temperature=0, messages=QUESTION + [
            {"role": "assistant", "reasoning_content": thought, "content": "47 * 36 = 16", "prefix": True}])
        self.assertEqual(reply.choices[0].message.content, "92")
        self.assertFalse(reply.choices[0].message.reasoning_content)
        half = thought[:len(thought) // 2]
        reply = beta.chat.completions.create(model=NAME, temperature=0, messages=QUESTION + [
            {"role": "assistant", "reasoning_content": half, "content": "", "prefix": True}])
        self.assertEqual(half + reply.choices[0].message.reasoning_content, thought)
        self.assertIn("1692", reply.choices[0].message.content)

    def test_completions(self):
        reply = self.client.completions.create(model=NAME, prompt="What is 2 + 2?", max_tokens=8, temperature=0,
                                               logprobs=2, echo=True)
        self.assertEqual(reply.object, "text_completion")
        self.assertTrue(reply.choices[0].text.startswith("What is 2 + 2?"))
        self.assertEqual(len(reply.choices[0].logprobs.tokens), len(reply.choices[0].logprobs.token_logprobs))
        text = "".join(chunk.choices[0].text for chunk in self.client.completions.create(
            model=NAME, prompt="What is 2 + 2?", max_tokens=8, temperature=0, stream=True) if chunk.choices)
        self.assertEqual("What is 2 + 2?" + text, reply.choices[0].text)

    def test_models(self):
        self.assertIn(NAME, [model.id for model in self.client.models.list()])
        self.assertEqual(self.client.models.retrieve(NAME).id, NAME)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("gpt-0")

    def test_alias(self):
        self.assertIn("1692", self.create(model="deepseek-chat").choices[0].message.content)

    def test_errors(self):
        cases = [
            (openai.NotFoundError, {"model": "gpt-0"}, "model"),
            (openai.BadRequestError, {"messages": []}, "messages"),
            (openai.BadRequestError, {"messages": [{"role": "wizard", "content": "x"}]}, "messages[0]"),
            (openai.BadRequestError, {"extra_body": {"no_such": 1}}, "no_such"),
            (openai.BadRequestError, {"messages": [{"role": "user", "content": "12 " * 3000}]}, None),
            (openai.UnprocessableEntityError, {"temperature": 3}, "temperature"),
            (openai.UnprocessableEntityError, {"top_p": 1.5}, "top_p"),
            (openai.UnprocessableEntityError, {"max_tokens": 0}, "max_tokens"),
            (openai.APIStatusError, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ]
        for kind, more, param in cases:
            with self.subTest(more=str(more)[:60]), self.assertRaises(kind) as caught:
                self.create(**more)
            body = caught.exception.body
            self.assertTrue(body["message"])
            if param:
                self.assertEqual(body["param"], param)
        with self.assertRaises(openai.BadRequestError):
            self.create(model="x" * 300 + "\0")
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client.post("/no/such", cast_to=object)
        self.assertEqual(caught.exception.status_code, 404)

    # ---- tools and structure ----

    def test_tool_forced(self):
        reply = self.create(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}},
                            max_tokens=300)
        call = reply.choices[0].message.tool_calls[0]
        self.assertEqual(reply.choices[0].finish_reason, "tool_calls")
        self.assertEqual((call.type, call.function.name), ("function", "get_weather"))
        arguments = json.loads(call.function.arguments)
        self.assertEqual(set(arguments), {"place", "days"})
        self.assertTrue(1 <= arguments["days"] <= 9)
        # what it says is the same as a stream
        parts, name, finish = "", None, None
        for chunk in self.create(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}},
                                 max_tokens=300, stream=True):
            for choice in chunk.choices:
                for piece in choice.delta.tool_calls or []:
                    name = piece.function.name or name
                    parts += piece.function.arguments or ""
                finish = choice.finish_reason or finish
        self.assertEqual((name, parts, finish), ("get_weather", call.function.arguments, "tool_calls"))

    def test_tool_required(self):
        reply = self.create(tools=[WEATHER], tool_choice="required", max_tokens=300)
        self.assertEqual(reply.choices[0].message.tool_calls[0].function.name, "get_weather")

    def test_tool_round_trip(self):
        call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"place":"Rome","days":1}'}}
        reply = self.create(tools=[WEATHER], messages=QUESTION + [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}], max_tokens=20)
        self.assertIn(reply.choices[0].finish_reason, ("stop", "length", "tool_calls"))

    def test_tool_errors(self):
        with self.assertRaises(openai.BadRequestError):
            self.create(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "other"}})
        with self.assertRaises(openai.BadRequestError):
            self.create(tool_choice="required")

    def test_json_object(self):
        reply = self.create(response_format={"type": "json_object"}, max_tokens=200)
        if reply.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(reply.choices[0].message.content), dict)

    def test_parse(self):
        parse = self.client.chat.completions.parse
        reply = parse(model=NAME, messages=QUESTION, temperature=0, max_tokens=400, response_format=Point)
        self.assertIsInstance(reply.choices[0].message.parsed, Point)

    def test_bad_schema(self):
        with self.assertRaises(openai.BadRequestError):
            self.create(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "wizard"}}})


class KeysTest(unittest.TestCase):
    """Keys, limits and budgets as the package reports them."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.store = os.path.join(self.folder.name, "keys.db")
        self.key = keys(self.store, "add", "--name", "a")
        self.server = Server("--keys", self.store)

    def tearDown(self):
        self.server.stop()
        self.folder.cleanup()

    def client(self, key):
        return openai.OpenAI(api_key=key, base_url=self.server.url + "/v1", max_retries=0)

    def ask(self, key):
        with self.client(key) as client:
            return client.chat.completions.create(model=NAME, messages=QUESTION, temperature=0)

    def test_keys(self):
        self.assertIn("1692", self.ask(self.key).choices[0].message.content)
        with self.assertRaises(openai.AuthenticationError):
            self.ask("sk-wrong")
        status, headers, answer = self.server.ask("/v1/models")
        self.assertEqual(status, 401)
        keys(self.store, "revoke", "a")
        with self.assertRaises(openai.AuthenticationError):
            self.ask(self.key)

    def test_limits(self):
        key = keys(self.store, "add", "--requests-per-minute", "2")
        self.ask(key), self.ask(key)
        with self.assertRaises(openai.RateLimitError) as caught:
            self.ask(key)
        self.assertGreater(float(caught.exception.response.headers["retry-after"]), 0)
        self.ask(self.key)  # others go on

    def test_budget(self):
        key = keys(self.store, "add", "--budget", "0.0001")
        spent = False
        for _ in range(10):
            try:
                self.ask(key)
            except openai.APIStatusError as error:
                spent = error.status_code == 402
                break
        self.assertTrue(spent)
        _, _, balance = self.server.ask("/user/balance", headers={"Authorization": "Bearer " + key})
        self.assertFalse(balance["is_available"])


if __name__ == "__main__":
    unittest.main()
