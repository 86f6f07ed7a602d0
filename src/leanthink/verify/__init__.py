"""Is a response correct? Answer extraction, a judge in worker processes with a deadline, and honest verdicts."""

from leanthink.verify.extract import extract_answer
from leanthink.verify.golds import bad_golds, gold_text
from leanthink.verify.pool import VerifierError
from leanthink.verify.reading import type_of
from leanthink.verify.service import Verifier
from leanthink.verify.verdict import Judgement, Verdict

__all__ = ["Judgement", "Verdict", "Verifier", "VerifierError", "bad_golds", "extract_answer", "gold_text", "type_of"]
