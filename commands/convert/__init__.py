"""Converts what trainers write into the component files of Exo2EgoSyn (docs/exo2egosyn-format.md); needs torch only."""
