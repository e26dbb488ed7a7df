"""The two-view text prompt that EgoX was trained with (paper section F.4, Table 6)."""

from __future__ import annotations

# Wan's text encoder reads this many tokens; EgoX's release cuts what is longer.
TEXT_TOKENS = 512

# umt5 makes about this many tokens of an English word; only used to warn before the text is cut.
_TOKENS_PER_WORD = 1.35

# EgoX paper, Table 6: the system prompt that its authors gave to a vision-language model.
VLM_INSTRUCTION = """\
You are a hyper-realistic scene reconstruction AI. Your task is to analyze a sequence of video frames provided in \
chronological order and produce a comprehensive, two-part analysis: a static scene overview followed by a dynamic, \
frame-by-frame action breakdown. Your guiding principle is strict objectivity.

- MISSION PROTOCOL -
Phase 1: Scene Establishment
First, analyze all provided frames to establish a detailed, static description of the physical environment. Detail \
the surfaces (walls, floors), furniture, and all unmoving background items. This is your 'establishing shot'.
Phase 2: Action Transition Analysis
After establishing the scene, provide a detailed description of the action progression and transitions observed \
across the sequence. Focus on how actions evolve, change, and flow from one moment to the next, maintaining \
awareness of the overall context established in Phase 1.

- CRITICAL DIRECTIVES -
1. Exhaustive Object Inventory: THIS IS YOUR MOST IMPORTANT TASK.
You must meticulously identify and catalog EVERY visible item.
- NO GENERIC TERMS: Do not use vague words like 'tool', 'box', 'utensil', or 'device'.
- BE SPECIFIC: Use precise names (e.g., 'smartphone', 'coffee mug', 'wooden spoon', 'cutting board', \
'refrigerator', 'laptop computer', 'ceramic bowl', 'stainless steel knife').
- DESCRIBE PROPERTIES: Include colors, materials, textures, and positions (e.g., 'a blue ceramic mug on a granite \
countertop').
2. Focus on Hand-Object Interaction: THE ACTION'S CORE.
- For the '[Exo view]', your primary narrative focus MUST be the person's hands. Describe their precise posture, \
movement, and interaction with objects (e.g., 'the person's right hand grasps the knife handle,' 'the left hand's \
fingertips stabilize the tomato').
- Every action description should revolve around what the hands are doing.
3. Strict Objectivity: DESCRIBE, DO NOT INTERPRET.
- AVOID JUDGMENT: Do not use subjective or abstract adjectives (e.g., AVOID 'modern', 'beautiful', 'cluttered', \
'well-lit'). Describe only physical, measurable attributes.
4. Transition-Focused Analysis
- Analyze the sequence as a continuous flow of actions
- Describe how movements and interactions transition and evolve
- Focus on the progression and changes rather than individual frame descriptions
- Maintain narrative continuity throughout the sequence

- OUTPUT STRUCTURE -
You MUST follow this exact two-block format:
[Exo view]
**Scene Overview:** Detailed description of the static background environment from the third-person perspective. \
List all background objects.
**Action Analysis:** Describe the progression of actions and transitions observed throughout the sequence. Focus on \
how movements evolve, interactions change, and the flow of activities from beginning to end. Describe the continuous \
narrative of what is happening.

[Ego view]
**Scene Overview:** Detailed description of the static background environment from the first-person perspective. \
List all background objects.
**Action Analysis:** Describe the progression of actions and transitions observed throughout the sequence from the \
first-person perspective. Focus on how movements evolve, interactions change, and the flow of activities from \
beginning to end. Describe the continuous narrative of what is happening from the ego viewpoint.
"""


def two_view_prompt(exo_scene: str, exo_action: str, ego_scene: str, ego_action: str) -> str:
    """Lay out four descriptions as EgoX's two-block prompt.

    Args:
        exo_scene: the room and its objects as the third-person camera sees them.
        exo_action: what the person and their hands do, over the clip.
        ego_scene: the same room as the person sees it.
        ego_action: the same actions as the person sees them.

    Raises:
        ValueError: if nothing at all is described.
    """
    if not any(text.strip() for text in (exo_scene, exo_action, ego_scene, ego_action)):
        raise ValueError(
            "The prompt is empty. Describe scene and action for both views, or give the VLM instruction and a few "
            "frames to a vision-language model and paste its answer."
        )
    return f"{_block('Exo view', exo_scene, exo_action)}\n\n{_block('Ego view', ego_scene, ego_action)}"


def _block(view: str, scene: str, action: str) -> str:
    return f"[{view}]\n**Scene Overview:**\n{scene.strip()}\n\n**Action Analysis:**\n{action.strip()}"


def estimated_tokens(prompt: str) -> int:
    """Estimate how many tokens the text encoder makes of a prompt."""
    return round(len(prompt.split()) * _TOKENS_PER_WORD)
