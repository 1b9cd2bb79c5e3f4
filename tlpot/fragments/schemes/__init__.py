"""Fragment schemes: which pieces, with which signs."""

from tlpot.fragments.schemes.mfcc import GMFCC, MFCC, Dimers
from tlpot.fragments.schemes.registry import (
    AI2BMD,
    DEFAULT_SCHEME,
    SCHEMES,
    choose_scheme,
    is_ai2bmd,
    parse_scheme,
)
from tlpot.fragments.schemes.scheme import Direct, Scheme
from tlpot.fragments.schemes.sphere import Sphere
