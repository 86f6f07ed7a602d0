"""What every trainer needs and none of them owns: the facts of a response, the shaper, the state of a run.

A trainer samples, has :class:`FactFinder` find the facts about each response, and gives those of whole groups to
:class:`Shaper`, which returns rewards, masks, advantages and metrics; its checkpoint takes the shaper's state along.
``examples/04_any_trainer.py`` is a whole one.
"""

from leanthink.training.advantage import Mark, token_advantages
from leanthink.training.facts import FactFinder, Response
from leanthink.training.filtering import ACC_THEN_REWARD, kept_groups
from leanthink.training.names import prompt_key, response_key
from leanthink.training.responses import end_ids, thinking_length, was_truncated, without_end
from leanthink.training.sampling import sampling_kinds
from leanthink.training.settings import Settings
from leanthink.training.shaper import Shaped, Shaper
from leanthink.training.state import States, load_states, save_states, saved_step
from leanthink.training.template import check_opening, end_of_prompt
from leanthink.training.told import stating

__all__ = [
    "ACC_THEN_REWARD",
    "FactFinder",
    "Mark",
    "Response",
    "Settings",
    "Shaped",
    "Shaper",
    "States",
    "check_opening",
    "end_ids",
    "end_of_prompt",
    "kept_groups",
    "load_states",
    "prompt_key",
    "response_key",
    "sampling_kinds",
    "save_states",
    "saved_step",
    "stating",
    "thinking_length",
    "token_advantages",
    "was_truncated",
    "without_end",
]
