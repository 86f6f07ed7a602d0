"""A trainer of one's own around leanthink: sample, find facts, shape, update with plain torch; no verl anywhere.

Run it: python examples/04_any_trainer.py [STEPS]
"""

import sys

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from leanthink import load_recipe
from leanthink.testbed import answer, policy_path, questions
from leanthink.testbed.evaluate import prompt_ids
from leanthink.testbed.generate import Sampling, generate
from leanthink.training import FactFinder, Response, Settings, Shaper, end_ids, end_of_prompt

PROMPTS, ROLLOUTS, RATE, LIMIT = 16, 8, 1.5e-4, 96


def main(steps: int) -> list[float]:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a policy so small gains nothing from more, and waits for them on a busy machine
    path = str(policy_path())
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    settings = Settings.of(load_recipe("trle", ["reward.sigmoid_length.alpha=0.4"]))
    finder = FactFinder(settings, tokenizer, end_ids(path, tokenizer.eos_token_id), end_of_prompt(tokenizer))
    shaper = Shaper(settings)  # to resume: Shaper(settings, checkpoint_before=...), and shaper.save(folder, step)
    optimizer, generator = torch.optim.AdamW(model.parameters(), lr=RATE), torch.Generator().manual_seed(0)
    asked, tokens = questions("train", PROMPTS * steps, seed=0), []
    for step in range(1, steps + 1):
        # 1. Sample whole groups.
        group = [question for question in (next(asked) for _ in range(PROMPTS)) for _ in range(ROLLOUTS)]
        prompts = [prompt_ids(tokenizer, question) for question in group]
        ends = [tokenizer.eos_token_id]
        sampled = generate(model, prompts, Sampling(max_new_tokens=LIMIT), eos_token_ids=ends, generator=generator)

        # 2. Find the facts about each response.
        responses = [
            Response(
                token_ids=one.token_ids,
                messages=[{"role": "user", "content": question.text}],
                gold=str(answer(question)),
                truncated=one.stop_reason == "length",
                prompt_ids=prompt,
            )
            for one, question, prompt in zip(sampled, group, prompts, strict=True)
        ]
        facts = finder.find_all(responses)

        # 3. Shape them: rewards, who is trained on, advantages, metrics. The state stays in the shaper.
        uids = [str(number // ROLLOUTS) for number in range(len(group))]
        shaped = shaper.shape(facts, uids, step)
        mask_NT = pad_sequence([torch.ones(len(one.token_ids)) for one in sampled], batch_first=True)
        advantage_NT = shaper.advantages(facts, uids, shaped, mask_NT.long())

        # 4. Update. Each batch is trained on once, so that the policy ratio is 1.
        loss = -(log_probs(model, prompts, sampled) * advantage_NT * mask_NT).sum() / mask_NT.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens.append(shaped.metrics["length/all"])
        print(f"step {step:2}  {shaped.metrics['accuracy']:.0%} right  {tokens[-1]:.1f} tokens")
    return tokens


def log_probs(model, prompts, sampled):
    """The policy's log-probabilities (N, T) of the sampled tokens; 0 behind a response's end."""
    rows = [torch.tensor(prompt + one.token_ids) for prompt, one in zip(prompts, sampled, strict=True)]
    ids_NL = pad_sequence(rows, batch_first=True)
    seen_NL = (torch.arange(ids_NL.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]).long()
    all_NLV = model(input_ids=ids_NL, attention_mask=seen_NL).logits[:, :-1].log_softmax(-1)
    chosen_NL = all_NLV.gather(-1, ids_NL[:, 1:, None]).squeeze(-1)
    # The token at place t is predicted at t - 1.
    answers = [chosen_NL[n, len(prompts[n]) - 1 : len(row) - 1] for n, row in enumerate(rows)]
    return pad_sequence(answers, batch_first=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
