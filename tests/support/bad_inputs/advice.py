"""Whether a message says what to do next.

It does where one of its clauses is an instruction, that is, begins with a verb in the imperative ("Connect Camera.",
"...; press R", "..., or choose another file"), or where what it expects leaves no question: one of these values, a
number from here to there. That something is wrong, and even that it "must" be otherwise, is no instruction: whoever
reads it then knows neither which node nor which file to change.
"""

from __future__ import annotations

import re

# What an artist can do to a graph, a setting, a file or a folder. A verb that is missing belongs here.
_VERBS = """
    add allow apply ask bring check choose clear close connect convert copy correct crop cut delete disconnect
    download draw empty encode enter exclude export fill fit fix free give go increase install keep leave let link
    load lower make match mend move name open pick place plug press put raise re-encode read record reduce remove
    rename render repair replace report resize restart run sample save scale select send set shorten show split
    start stop swap switch take try turn unplug update use wait widen write
"""
# Where a clause may begin: after the end of another one. A comma alone is none: "width, set on the node, is wrong".
_START = r"(?:^|[.:;!?)] +|, (?:and|or|then) )"
_INSTRUCTION = re.compile(rf"{_START}(?:please )?(?:{'|'.join(_VERBS.split())}) [\w'\"]", re.IGNORECASE)
_NUMBER = r"-?\d[\d.,]*"
_EXPECTATION = re.compile(
    rf"one of \S|from {_NUMBER} (?:up )?to {_NUMBER}|between {_NUMBER} and {_NUMBER}|at (?:least|most) {_NUMBER}"
    rf"|{_NUMBER} or (?:more|less|fewer)|multiple of {_NUMBER}"
)


def says_what_to_do(text: str) -> bool:
    """Return whether a message tells the next step, or the values that may be chosen."""
    return bool(_INSTRUCTION.search(text) or _EXPECTATION.search(text))
