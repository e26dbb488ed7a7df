"""What to ask a vision-language model for, so that its answer is a prompt for EgoX; and its answer taken apart.

EgoX's authors used another instruction (paper, section F.4 and Table 6). An artist has the exo clip alone, and Wan
reads 512 tokens: so this one asks for the ego view to be worked out, and for a short exo block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .prompt_sections import EGO, EXO, split_sections

VLM_INSTRUCTION = """\
The pictures you get are frames of one clip, earliest first, taken by a camera that watches people from the outside. \
Pick the person whom the user names; if nobody is named, the one whose hands are busiest. Below, that person is \
called the wearer. Your answer steers a video generator that will show these same seconds through the wearer's eyes. \
No picture from there exists, so work out from the frames what those eyes have before them.

LAYOUT
Reply with these six lines, each filled in, and with nothing before or after them:

[Exo view]
**Scene Overview:** <up to 50 words: the place and its main things, as the camera shows them>
**Action Analysis:** <up to 60 words: what the wearer does from the first frame to the last>

[Ego view]
**Scene Overview:** <up to 90 words: that place again, as the wearer's eyes have it>
**Action Analysis:** <up to 120 words: those same moments, as the wearer sees the own hands carry them out>

LENGTH
The generator stops reading after 512 tokens, roughly 340 words of English. Think the ego block through first: it \
matters most, and it is the one that gets lost when the text runs over. If words run short, take them from the exo \
block.

NAMES
Call each thing by its everyday name and add what tells it apart: colour, what it is made of, where it stands. Write \
"chipped white enamel jug, left of the hob" rather than "container". Things that get touched and things within arm's \
reach come first, far background last. Keep one name for one thing in both blocks.

HANDS
Let the hands lead the account. Say which hand, how the fingers hold, where it moves, what it puts down or lets go. If \
a hand rests, say where. Left and right are the wearer's own: someone facing the camera has the right hand on the \
picture's left side.

THE WEARER'S EYES
Begin with what is near and low: forearms and hands rising from the bottom edge, sleeves, the surface worked on. Go on \
to what stands beyond it. Give each thing a place in that picture, such as lower left or far centre. Leave out the \
wearer's face and all that lies behind the back. Where the head turns or bends, tell what moves in and out of sight. \
Other people appear as the wearer faces them.

PLAIN OBSERVATION
Report what shows in the frames or must follow from them. No mood, no praise, no motives, no "seems to". What no frame \
lets you know, skip.

COURSE OF TIME
Tell one unbroken course: how things stand at the start, what changes and because of which movement, how they stand at \
the end. Link the steps with "then", "while" and "until"; never number the frames.
"""

_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL | re.IGNORECASE)
_LEFT_OPEN = re.compile(r"<up to \d+ words[^>]*>")  # a place of the instruction's form that was copied unfilled
_SCENE = "scene"
_NAMES = {(EXO, True): "exo_scene", (EXO, False): "exo_action", (EGO, True): "ego_scene", (EGO, False): "ego_action"}


@dataclass(frozen=True)
class Fields:
    """The four descriptions, as Two-View Prompt takes them; empty where nothing was said.

    Attributes:
        exo_scene: the place as the third-person camera sees it.
        exo_action: what the person does, from outside.
        ego_scene: the place as the person sees it.
        ego_action: the same actions as the person sees them.
    """

    exo_scene: str = ""
    exo_action: str = ""
    ego_scene: str = ""
    ego_action: str = ""

    def missing(self) -> list[str]:
        """Return the names of the empty fields."""
        return [name for name in _NAMES.values() if not getattr(self, name)]


def fields_of(answer: str) -> Fields:
    """Take an answer apart at its headings.

    What stands outside a view's two headings is left out; of a heading that comes twice the first text counts.
    """
    found: dict[str, str] = {}
    for section in split_sections(_THOUGHT.sub("", answer)):
        heading = section.heading.lower()
        if section.view not in (EXO, EGO) or not ("scene" in heading or "action" in heading):
            continue
        text = _LEFT_OPEN.sub("", "".join(section.sentences)).strip()
        text = re.sub(r"\s*(?:[-*_]{3,}|```)\s*$", "", text)  # a rule, or the end of a block of code
        name = _NAMES[section.view, _SCENE in heading]
        if text and name not in found:
            found[name] = text
    return Fields(**found)
