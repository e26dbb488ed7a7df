"""People in a clip as boxes and joints: followed from frame to frame, and written as other packs write them."""
