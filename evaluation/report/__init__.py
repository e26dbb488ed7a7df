"""What an evaluation leaves: tables in the papers' layout, JSON, a page with images, videos for VBench."""
