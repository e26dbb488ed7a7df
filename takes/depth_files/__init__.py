"""Depth as depth models, cameras and 3D programs write it: arrays, OpenEXR, TIFF, PNG, sequences and gray videos."""
