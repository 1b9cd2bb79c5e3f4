"""Fragment schemes: which pieces, with which signs."""

from tlpot.fragments.schemes.dimers import Dimers as Dimers
from tlpot.fragments.schemes.direct import Direct as Direct
from tlpot.fragments.schemes.gmfcc import GMFCC as GMFCC
from tlpot.fragments.schemes.mfcc import MFCC as MFCC
from tlpot.fragments.schemes.registry import AI2BMD as AI2BMD
from tlpot.fragments.schemes.registry import SCHEMES as SCHEMES
from tlpot.fragments.schemes.registry import choose_scheme as choose_scheme
from tlpot.fragments.schemes.registry import is_ai2bmd as is_ai2bmd
from tlpot.fragments.schemes.scheme import Scheme as Scheme
from tlpot.fragments.schemes.sphere import Sphere as Sphere
