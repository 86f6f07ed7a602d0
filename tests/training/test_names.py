"""Names of prompts and responses: all that tells two apart goes into them, and nothing else."""

from leanthink.training.names import prompt_key, response_key

USER = {"role": "user", "content": "1 + 1 ="}


def test_every_message_of_a_prompt_counts():
    terse, wordy = ({"role": "system", "content": text} for text in ("Be brief.", "Think long."))
    earlier = {"role": "assistant", "content": "2"}
    prompts = [[USER], [terse, USER], [wordy, USER], [USER, terse], [USER, earlier, USER], [{**USER, "role": "system"}]]
    assert len({prompt_key(prompt) for prompt in prompts}) == len(prompts)


def test_the_order_of_a_messages_keys_does_not_count():
    assert prompt_key([{"content": "1 + 1 =", "role": "user"}]) == prompt_key([USER])


def test_a_response_is_named_by_its_prompt_and_all_its_tokens():
    names = [response_key(prompt, tokens) for prompt in ("p", "q") for tokens in ([1, 2], [2, 1], [1, 2, 2], [1])]
    assert len(set(names)) == len(names)
