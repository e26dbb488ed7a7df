"""People found in a clip by transformers' networks: boxes, joints, masks."""
