"""How results are shown: tables, numbers, pictures, pages, progress."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.presentation.html import (
        STYLE,
        duration,
        inline,
        number,
        paragraph,
        picture,
        table,
        tree,
    )
    from tlpot.presentation.numbers import short
    from tlpot.presentation.pictures import drawn, letter_panels, picture_path, save_picture
    from tlpot.presentation.progress import Progress, progress_bar, telling
    from tlpot.presentation.result import Result, text_table, warnings_of

__getattr__ = lazy_exports(__name__)
