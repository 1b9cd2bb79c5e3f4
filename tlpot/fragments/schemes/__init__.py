"""Fragment schemes: which pieces, with which signs."""

from tlpot.fragments.schemes.dimers import Dimers
from tlpot.fragments.schemes.direct import Direct
from tlpot.fragments.schemes.gmfcc import GMFCC
from tlpot.fragments.schemes.mfcc import MFCC
from tlpot.fragments.schemes.registry import (
    AI2BMD,
    DEFAULT_SCHEME,
    SCHEMES,
    choose_scheme,
    is_ai2bmd,
    parse_scheme,
)
from tlpot.fragments.schemes.scheme import Scheme
from tlpot.fragments.schemes.sphere import Sphere
