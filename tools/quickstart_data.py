"""Writes ``examples/quickstart.jsonl``: the testbed's policy answers 50 questions eight times each, by a fixed seed.

Run it where transformers is installed: ``python tools/quickstart_data.py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parents[1] / "examples" / "quickstart.jsonl"
QUESTIONS, SAMPLES, SEED = 50, 8, 0


def main(file: Path = FILE) -> int:
    """Sample the responses, and write a row for each."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from leanthink.testbed import policy_path, questions
    from leanthink.testbed.evaluate import prompt_ids
    from leanthink.testbed.generate import Sampling, generate
    from leanthink.testbed.task import Task, answer

    folder, task = policy_path(), Task()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    asked = [question for question in questions("test", QUESTIONS, SEED) for _ in range(SAMPLES)]
    responses = generate(
        model,
        [prompt_ids(tokenizer, question) for question in asked],
        Sampling(max_new_tokens=task.max_response_tokens, temperature=1.0),
        eos_token_ids=[tokenizer.eos_token_id],
        generator=torch.Generator().manual_seed(SEED),
    )
    with file.open("w", encoding="utf-8") as rows:
        for question, response in zip(asked, responses, strict=True):
            row = {
                "question": question.text,
                "gold": str(answer(question)),
                "response": tokenizer.decode(response.token_ids, skip_special_tokens=True),
                "length": len(response.token_ids),
                "truncated": response.stop_reason == "length",
                "difficulty": question.difficulty,
            }
            rows.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
