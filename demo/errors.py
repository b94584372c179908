"""
What goes wrong in a demo, said so that a person can act on it.

    DemoError            printed without a traceback; exit code 2
    ├── ToolError        a program is missing, too old or cannot be built
    ├── StackError       a program did not start, or ended before it was stopped
    └── StoryError       everything runs, but an event of the story did not come in time
"""


class DemoError(Exception):
    """The demo cannot go on."""


class ToolError(DemoError):
    """A program is missing, too old or cannot be built."""


class StackError(DemoError):
    """A program did not start, or ended before it was stopped."""


class StoryError(DemoError):
    """Everything runs, but an event of the story did not come in time."""
