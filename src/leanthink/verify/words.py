r"""Lists of words that the reading of answers goes by."""

from __future__ import annotations

import re
from typing import Final


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


GLUED: Final = re.compile(r"(sin|cos|tan|ln|log|exp)([xyztu])")
"""A function with its argument glued to it."""

COUNTED: Final = _set("""
    people person child children man men woman women foot feet inch mouse mice dice die goose geese sheep fish
    deer cattle money change way time hour student apple egg book page ball point marble car house box piece
    side edge vertex vertices triangle pair number integer digit solution root card coin game pizza slice cookie
    candy cow dog cat bird tree flower toy gift shirt dress shoe sock hat pen pencil mark score goal step floor
    room seat ticket bag bottle glass cup plate bowl jar can bus train trip lap mile run ride song movie show
    word letter line row column group team player teacher friend guest member worker employee customer boy girl
    kid baby sister brother dollar cent euro pound unit degree percent week day month year minute second gallon
    ounce
""")
"""Nouns that are counted and do not end in "s", or not in the singular."""

NO_NOUNS: Final = _set("""
    is was has does its this as us plus minus less unless perhaps always thus yes alas besides sometimes
    afterwards otherwise towards versus minuses less lots guess times's equals gives makes leaves means remains
    becomes seems tens hundreds thousands millions billions trillions dozens halves thirds fourths fifths sixths
    tenths hundredths thousandths quarters squares cubes multiples powers factors fractions errors mistakes
    options choices guesses answers possibilities odds evens negatives positives apiece more times percentages
    was were various regardless nonetheless nevertheless pass cross across previous obvious serious odds modulus
    radius infinite sums differences products quotients factorials logs roots
""")
"""What ends in "s" and counts nothing: it says something else about the number."""

JOINING: Final = _set("""
    of per the in each a an square cubic sq cu for and
""")
"""Words within the name of what is counted."""

AFTER: Final = _set("""
    old long tall high wide deep each total altogether left remaining apart away
""")
"""Words that may follow the name of what is counted."""

HEDGES: Final = _set("""
    or and if not no is are was be isn't either neither maybe probably possibly perhaps wrong right incorrect
    correct true false when where otherwise else then but except than at least most about around approximately
    roughly nearly almost minus plus times divided over to from between even odd positive negative unless
    however wait actually unsure unknown guess some any every all none nothing more less fewer up down below
    above under one two three four five six seven eight nine ten zero half double triple twice squared cubed
    factorial mod remainder too many few early late off only also with without because since so
""")
"""Words that change what a number beside them says."""

DENIALS: Final = _set("""
    not isn't never no neither cannot wrong false incorrect whether if maybe perhaps possibly
""")
"""Words before a value that do not say it."""

UNIT_LETTERS: Final = _set("""
    m g s l L N J W V K h
""")
"""Single letters that are units behind a number and a space."""

SHORT: Final = _set("""
    is no on if to of in at by as so it we up an am pm be do go me my he or
""")
"""Words of two letters that are no product of two factors."""

SHOUTED: Final = _set("""
    yes no true false odd even none both neither
""")
"""Words that are no product in capitals either."""

NEARLY: Final = _set("""
    about approximately approx roughly around only exactly approx.
""")
"""Words before a value that change nothing."""

NAMES: Final = _set("""
    asin acos atan tg ctg pi theta alpha beta gamma omega lambda phi inf infinity sqrt frac exp oo
""")
"""Runs of letters that are names in a formula."""

SIGNS: Final = _set(r"""
    = < > \le \ge \ne \in \notin \equiv \approx \sim \subset \cong \to \iff
""")
"""Signs of relations."""

GREEK: Final = _set("""
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi
    omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega Alpha Beta Epsilon Zeta Eta Iota Kappa Mu
    Nu Omicron Rho Tau Chi omicron ell hbar aleph nabla odot oplus star
""")
"""Letters with names, and signs that are used as letters."""
