"""The pack's V3 nodes, one folder a theme; `extension` lists them."""
