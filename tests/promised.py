"""Figures, and what is promised of them, as lines of a table."""

import sys

missed = []


def bar(name, value, text, good):
    """One line; `good` is None where the figure is only printed."""
    mark = "" if good is None else "reached" if good else "MISSED"
    if good is False:
        missed.append(name)
    print(f"{name:58}{value:>16}  {text:28}{mark}", flush=True)


def end():
    """The last line, and the end of the program: with 1 if a bar was missed."""
    print(f"bars missed: {', '.join(missed) or 'none'}")
    sys.exit(1 if missed else 0)
