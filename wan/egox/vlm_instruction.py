"""What to ask a vision-language model for, so that its answer is a prompt for EgoX.

EgoX's authors used another instruction (paper, section F.4 and Table 6). An artist has the exo clip alone, and Wan
reads 512 tokens: so this one asks for the ego view to be worked out, and for a short exo block.
"""

from __future__ import annotations

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
