"""The tokenizer: a word is a token, words are split on white space and joined by one space."""

from __future__ import annotations

from typing import Any

from leanthink.testbed.beds import AnyTask
from leanthink.testbed.effort import LEVELS, Effort
from leanthink.testbed.task import Task
from leanthink.testbed.tools import RESULT, Tools

PAD, EOS, UNKNOWN, USER, ASSISTANT = "<pad>", "<eos>", "<unk>", "<user>", "<assistant>"
SPECIAL = (PAD, EOS, UNKNOWN, USER, ASSISTANT)
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if not loop.first %} {% endif -%}"
    "{%- if message.role == 'assistant' -%}<assistant> {{ message.content }} <eos>"
    "{%- else -%}<user> {{ message.content }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt %} <assistant>{% endif -%}"
)
TOOLS_TEMPLATE = CHAT_TEMPLATE.replace(
    "{%- else -%}", f"{{%- elif message.role == 'tool' -%}}{RESULT} {{{{ message.content }}}}{{%- else -%}}"
)
"""That of a task with a calculator, whose results have a role."""
EFFORT_TEMPLATE = CHAT_TEMPLATE.replace(
    "<user> {{", f"<user> {{% if {LEVELS.argument} %}}{{{{ {LEVELS.argument} }}}} {{% endif %}}{{{{"
)
"""That of a task with levels of effort, of which the template is told."""


def vocabulary(task: AnyTask | None = None) -> dict[str, int]:
    """Every word and its id: the special tokens, the words of a trace, the numbers.

    >>> list(vocabulary())[:7]
    ['<pad>', '<eos>', '<unk>', '<user>', '<assistant>', '<think>', '</think>']
    """
    return {word: i for i, word in enumerate([*SPECIAL, *(task or Task()).words])}


def template_of(task: AnyTask) -> str:
    """The chat template of a task."""
    if isinstance(task, Tools):
        return TOOLS_TEMPLATE
    return EFFORT_TEMPLATE if isinstance(task, Effort) else CHAT_TEMPLATE


def build_tokenizer(task: AnyTask | None = None) -> Any:
    r"""The Hugging Face tokenizer of a testbed.

    Only padding, end, unknown and the two roles are special, so that ``decode(…, skip_special_tokens=True)`` keeps the
    think tags and the box.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.decode(tokenizer.encode(r"<think> 30 </think> \boxed{ 30 } <eos>"), skip_special_tokens=True)
    '<think> 30 </think> \\boxed{ 30 }'
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    task = task or Task()
    words = Tokenizer(WordLevel(vocabulary(task), unk_token=UNKNOWN))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=template_of(task),
        padding_side="left",
        model_max_length=256 if isinstance(task, Tools) else 128,
        clean_up_tokenization_spaces=False,
    )
