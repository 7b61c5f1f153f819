"""What an edit on a server costs: list prices, a price of one's own for each picture, and what is held back for an edit under way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mre.errors import SettingsError
from mre.paid.budget import Price

if TYPE_CHECKING:
    from mre.editors.images_api import Edited

# USD per million tokens (input, output) of OpenAI's image models, as its pages of these models say (developers.openai.com/api/docs/models/
# gpt-image-1-mini; of gpt-image-1 as told in its community, community.openai.com/t/1275254); the input as if it were all pictures, which
# cost more than words. Prices change: look before a large run, and give your own for each picture with --price-picture.
PRICES = {"gpt-image-1": (10.0, 40.0), "gpt-image-1-mini": (2.5, 8.0)}
MOST_TOKENS = (7_000, 6_300)        # of one edit: a photo at high fidelity, and a picture of 1536 x 1024 at high quality


@dataclass(frozen=True)
class Charge:
    """What an edit is charged by: tokens, or the picture, which counts as one."""

    price: Price
    most: tuple[int, int] = (0, 0)      # input and output tokens that are held back while an edit is under way
    by_picture: bool = False

    def used(self, edited: Edited) -> tuple[int, int]:
        """Of an edit that came; where the server does not say, the most."""
        if self.by_picture:
            return self.most
        said = edited.input_tokens, edited.output_tokens
        return said if any(said) else self.most

    def cost(self, edited: Edited) -> float | None:
        return self.price.cost(*self.used(edited))


def charge_of(model: str, is_own_server: bool, price_picture: float | None) -> Charge:
    """By the given price of a picture, or the list price of a model of OpenAI's. A model behind another address has none here. Raises
    SettingsError."""
    if price_picture is not None:
        if not 0 <= price_picture < math.inf:
            raise SettingsError(f"--price-picture must be 0 or more USD for a picture, got {price_picture}")
        return Charge(Price(0.0, price_picture * 1e6), (0, 1), by_picture=True)
    listed = None if is_own_server else PRICES.get(model)
    return Charge(Price(None, None)) if listed is None else Charge(Price(*listed), MOST_TOKENS)
