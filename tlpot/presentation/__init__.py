"""How results are shown: tables, numbers, pictures, pages, progress."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.presentation.pictures import (
        COLOURS,
        add_legend,
        drawn,
        letter_panels,
        make_figure,
        picture_path,
        save_picture,
    )
    from tlpot.presentation.progress import (
        ListenerError,
        Progress,
        log_report,
        log_to_terminal,
        logger,
        progress_bar,
        telling,
    )
    from tlpot.presentation.result import Picture, Result, render, warnings_of
    from tlpot.presentation.table import Column, Table, text_table

__getattr__ = lazy_exports(__name__)
