"""Reading and writing videos, contact sheets and charts."""
