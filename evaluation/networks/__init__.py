"""Measures that take trained networks; nothing is downloaded, and what is not there says what to put where."""

from .choice import NETWORKS as NETWORKS
from .choice import Networks as Networks
from .choice import load_networks as load_networks
from .weights import WeightsMissingError as WeightsMissingError
