"""Pages escape what they are given; the log is silent unless somebody listens."""

import logging

import jinja2
import pytest

from tlpot.cli import main
from tlpot.presentation import Picture, log_to_terminal, logger, make_figure, render


def test_values_are_escaped_and_numbers_written_for_a_reader():
    text = render("page.html", title="a <b> & c", lead="x")
    assert "<title>a &lt;b&gt; &amp; c</title>" in text
    assert "prefers-color-scheme: dark" in text


def test_a_value_that_a_template_needs_is_missed():
    with pytest.raises(jinja2.UndefinedError, match="lead"):
        render("page.html", title="a")


def test_a_picture_is_inside_its_page_and_the_same_each_time():
    def picture():
        figure, ((axes,),) = make_figure(2.0, 1.5)
        axes.plot([0, 1])
        return Picture(figure, 'a "caption"').__html__()

    assert picture() == picture()
    element = picture()
    assert 'src="data:image/png;base64,' in element
    assert "<figcaption>a &#34;caption&#34;</figcaption>" in element


def test_the_log_is_silent_without_a_handler(capsys):
    logger.warning("nobody hears this")
    assert capsys.readouterr() == ("", "")


def test_a_listener_hears_the_log_and_leaves_no_trace(capsys):
    before = (logger.level, list(logger.handlers))
    with log_to_terminal(logging.INFO):
        logger.info("heard %d", 1)
        logger.debug("not heard")
    logger.info("too late")
    assert capsys.readouterr().out == "heard 1\n"
    assert (logger.level, list(logger.handlers)) == before


def test_a_command_leaves_the_logger_as_it_was(capsys):
    before = (logger.level, list(logger.handlers))
    assert main(["info", "tlpot-tiny", "--debug"]) == 0
    assert (logger.level, list(logger.handlers)) == before
