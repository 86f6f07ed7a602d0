"""The tool testbed's calculator and the form of its calls, as verl takes tools: from a file, by its path.

verl runs this file once for each worker of agent loops (``rollout.multi_turn.function_tool_path``), before it builds
the loops. Import it nowhere else: verl refuses a tool of a name that it has.
"""

from __future__ import annotations

import json
from typing import Any

from verl.experimental.agent_loop.tool_parser import FunctionCall, ToolParser
from verl.tools.function_tool import function_tool

from leanthink.testbed.tools import TOOL_NAME, calls_in, numbers_in
from leanthink.testbed.tools import product as of
from leanthink.verl.cpu.tools import FORMAT


@function_tool(TOOL_NAME)  # type: ignore[untyped-decorator]
def product(numbers: list[int]) -> str:
    """The product of two numbers, as the task writes it.

    Args:
        numbers: The two numbers.
    """
    return str(of(numbers))


@ToolParser.register(FORMAT)
class CallParser(ToolParser):  # type: ignore[misc]  # verl is untyped
    """Reads ``<tool> 21 91 </tool>``; a call that is cut, and has no closing tag, is none."""

    async def extract_tool_calls(self, responses_ids: list[int], tools: Any = None) -> tuple[str, list[FunctionCall]]:
        """The turn's text and its calls."""
        text = self.tokenizer.decode(responses_ids, skip_special_tokens=True)
        arguments = (json.dumps({"numbers": numbers_in(call)}) for call in calls_in(text))
        return text, [FunctionCall(name=TOOL_NAME, arguments=given) for given in arguments]
