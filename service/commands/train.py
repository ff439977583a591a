"""`longtake train`: hands its words to the training recipe, which has options of its own.

Knows neither those options nor what training does; turns what the recipe refuses into an error with a code.
"""

from collections.abc import Sequence

import typer

from models.errors import EngineError
from models.train.__main__ import main as train
from service.commands.options import OptionError


def run_train(arguments: Sequence[str]) -> None:
    """Train until the recipe's time is used up. Raises OptionError for a recipe that cannot be right."""
    try:
        code = train(list(arguments))
    except EngineError:
        raise
    except ValueError as error:
        raise OptionError(str(error), code="recipe_invalid", field="train") from error
    if code:
        raise typer.Exit(code)
