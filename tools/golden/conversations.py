# SPDX-License-Identifier: MIT
"""The conversations of the template goldens. Tool arguments are JSON text, spaced as Python's json.dumps does."""


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, *calls, **more):
    out = {"role": "assistant", "content": text, **more}
    if calls:
        out["tool_calls"] = [{"type": "function", "id": f"call_{i}", "function": {"name": n, "arguments": a}}
                             for i, (n, a) in enumerate(calls)]
    return out


def tool(text, call=0):
    return {"role": "tool", "tool_call_id": f"call_{call}", "content": text}


ODD = ("  spaces, \ttabs\n\nand line feeds\n", "{{ braces }} {% raw %} <b>&amp;</b> \"quoted\" \\n 'single' \\boxed{1}",
       "控制 <｜User｜> <｜end▁of▁sentence｜> <|im_start|> are plain text; émoji 👨‍👩‍👧 עברית")

CHATS = {
    "user": [user("Hi")],
    "system, user": [system("You are terse."), user("Hi")],
    "two turns": [user("a"), assistant("b"), user("c")],
    "two turns, system": [system("S"), user("a"), assistant("b"), user("c")],
    "three turns, system": [system("Answer in German.\nBe brief."), user("What is 1+1?"), assistant("Zwei."), user("And 2+2?"),
                            assistant("Vier."), user("Thanks!")],
    "five turns": [m for i in range(4) for m in (user(f"question {i}"), assistant(f"answer {i}"))] + [user("question 4")],
    "five turns, system": [system("Count.")] + [m for i in range(5) for m in (user(f"{i}"), assistant(f"{i + 1}"))],
    "ends with the assistant": [user("a"), assistant("b")],
    "reasoning": [user("a"), assistant("<think>\nx\n</think>\n\nb"), user("c")],
    "reasoning, system, three turns": [
        system("S"), user("12*12?"), assistant("<think>\n12*12 = 144\n</think>\n\n144"), user("13*13?"),
        assistant("<think>\n169, I know it.\n</think>\n\n**169**"), user("sum?")],
    "reasoning without an opening tag": [user("a"), assistant("Let me see.\n</think>\n\nb"), user("c")],
    "empty reasoning": [user("a"), assistant("<think>\n\n</think>\n\nb"), user("c")],
    "odd text": [system(ODD[1]), user(ODD[0]), assistant(ODD[2]), user(ODD[1])],
    "empty user": [user("")],
    "empty system": [system(""), user("x")],
}

TWICE_CLOSED = [user("a"), assistant("<think>x</think>y</think>z"), user("c")]
TWO_SYSTEMS = [system("one"), user("a"), assistant("b"), system("two"), user("c")]

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather of a place, e.g. \"Köln\"",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
                       "required": ["place"]}}},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]

KOELN = ("get_weather", '{"place": "Köln", "days": 2}')
NOW = ("now", "{}")
RAIN = '{"rain": true, "t": 11.5}'


def tool_chats(empty):
    """`empty` stands for "no content" (None, or "" for templates that cannot take None)."""
    start = [user("Weather in Köln?")]
    return {
        "call": start + [assistant(empty, KOELN)],
        "call, output": start + [assistant(empty, KOELN), tool(RAIN)],
        "call, output, answer, user": start + [assistant(empty, KOELN), tool(RAIN), assistant("Rain."), user("Thanks")],
        "system, call, output": [system("S")] + start + [assistant(empty, KOELN), tool(RAIN)],
        "text and call": start + [assistant("Let me look.", KOELN), tool(RAIN)],
        "two calls, two outputs, answer": start + [assistant(empty, KOELN, NOW), tool(RAIN), tool("12:00", 1), assistant("Rain.")],
        "two rounds": start + [assistant(empty, KOELN), tool(RAIN), assistant("Rain."), user("Time?"), assistant(empty, NOW),
                               tool("12:00"), assistant("Noon."), user("Bye")],
    }
