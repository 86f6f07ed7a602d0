"""Asking a served reward model, here a small web server that answers as vLLM's does."""

import asyncio

import pytest
from aiohttp import web

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Conciseness
from leanthink.verl.rollout import reward_model


async def asked_of(answer, status=200):
    """What the scorer makes of an answer, and what it sent."""
    sent = []

    async def completions(request):
        sent.append(await request.json())
        return web.json_response({"choices": [{"message": {"content": answer}}]}, status=status)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", completions)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]
        reward_model.use(f"127.0.0.1:{port}", "some/model")
        return await reward_model.conciseness("1 + 1 =", "It is 2."), sent
    finally:
        reward_model._served.clear()
        await runner.cleanup()


def test_the_number_in_the_answer_is_the_score():
    score, (body,) = asyncio.run(asked_of("0.7"))
    assert score == 0.7
    assert body["model"] == "some/model" and body["temperature"] == 0.0
    assert "1 + 1 =" in body["messages"][0]["content"] and "It is 2." in body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        *(("0.7", 0.7), (" .7\n", 0.7), ("0", 0.0), ("1", 1.0), ("1.00", 1.0), ("1.", 1.0), ("0.8.", 0.8)),
        *(("Score: 0.7", 0.7), ("**Score:** 0.7.", 0.7), ("Conciseness score: `0.35`", 0.35), ("**0.4**.", 0.4)),
        ("Here it is:\n\n**0.9**", 0.9),
        *((text, None) for text in ("10 of 10", "1/10", "1 redundant step", "1. The", "1%", "0.7分", "0.8x", "0,8")),
        *(
            (text, None)
            for text in ("on a scale 0.1 to 1.0: 0.8", "Step 2: 0.8", "1.2", "-0.5", "10", "", "none", "0.7 0.8")
        ),
    ],
)
def test_an_answer_is_one_number_or_none(answer, number):
    assert reward_model.number_in(answer) == number


def test_no_number_is_no_score():
    assert asyncio.run(asked_of("quite concise"))[0] is None


def test_a_failing_server_is_an_error_and_no_score():
    with pytest.raises(Exception, match="500"):
        asyncio.run(asked_of("0.7", status=500))


def test_without_a_served_model_it_says_what_to_set():
    with pytest.raises(ConfigError, match=r"reward.reward_model.enable=true"):
        asyncio.run(reward_model.conciseness("a", "b"))


def test_verls_own_keys_under_reward_stay_verls():
    recipe = load_recipe("crf", ["reward.reward_model.model_path=mine", "reward.conciseness.alpha=0.2"])
    assert recipe.verl["reward.reward_model.model_path"] == "mine"
    assert isinstance(recipe.reward, Conciseness) and recipe.reward.alpha == 0.2
