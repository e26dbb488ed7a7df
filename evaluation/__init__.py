"""How near an ego video comes to the true ego view: the papers' protocols, intervals, tables and a page."""

from .intervals import Interval as Interval
from .intervals import interval as interval
from .intervals import paired_interval as paired_interval
from .protocols import PROTOCOLS as PROTOCOLS
from .protocols import Protocol as Protocol
from .regions import covered as covered
from .scores import Scores as Scores
from .scores import score_clips as score_clips
