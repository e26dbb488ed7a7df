"""A real ComfyUI in the test process: it loads what was trained."""

from __future__ import annotations

from support.comfyui import import_comfyui

import_comfyui()
