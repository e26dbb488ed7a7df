"""A thousand clips through ComfyUI's HTTP API: manifest, journal, several servers, resume, report.

Runs beside ComfyUI, not in it: it imports neither ComfyUI nor torch. See docs/batch.md.
"""
