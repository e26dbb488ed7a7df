"""Sizes of Wan 2.2 I2V A14B and of what goes into it, as far as the networks here depend on them."""

from __future__ import annotations

# Width of a token, and number of blocks.
WAN_DIM = 5120
WAN_BLOCKS = 40

# Latent frames, rows and columns in a token.
WAN_PATCH = (1, 2, 2)

# Channels of a latent, and of I2V's input: noise 16, mask 4, first frame 16.
LATENT_CHANNELS = 16
I2V_CHANNELS = 36

# Moment, then direction.
PLUCKER_CHANNELS = 6

# Channels of an attention head.
HEAD_CHANNELS = 128
