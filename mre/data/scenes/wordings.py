"""The wordings that the embedded models of this version were trained on, and every word in them. Scenes are worded by `requests`.

{it} is a thing ("the red ball"), {colour} a colour, {a} what to add ("a red ball"), {place} where (with a blank before it, or empty).
"""

from __future__ import annotations

import re
from functools import cache

from mre.data.scenes.world import COLOUR_NAMES, KINDS, SLOTS

RECOLOUR = (
    "make {it} {colour}", "turn {it} {colour}", "paint {it} {colour}", "change {it} to {colour}", "change the colour of {it} to {colour}",
    "colour {it} {colour}", "please make {it} {colour}", "can you make {it} {colour}", "could you turn {it} {colour}",
    "please paint {it} {colour}", "i want {it} to be {colour}", "{it} should be {colour}", "give {it} a {colour} colour",
    "recolour {it} to {colour}", "make {it} {colour} please", "let {it} be {colour}", "make the colour of {it} {colour}",
    "{it} in {colour} please", "change {it} into {colour}")
RECOLOUR_HELDOUT = ("could you please make {it} {colour}", "i would like {it} to be {colour}",
                    "please change the colour of {it} into {colour}", "can you paint {it} {colour}", "could {it} be {colour}",
                    "let {it} turn {colour}")
REMOVE = (
    "remove {it}", "delete {it}", "take {it} away", "take away {it}", "get rid of {it}", "erase {it}", "please remove {it}",
    "can you remove {it}", "could you take {it} away", "i do not want {it}", "make {it} disappear", "remove {it} from the picture",
    "remove {it} please", "{it} should go away", "i would like {it} to be gone", "delete {it} from the image", "take {it} out",
    "erase {it} from the photo", "make the picture without {it}")
REMOVE_HELDOUT = ("please get rid of {it}", "could you make {it} disappear", "i would like you to remove {it}",
                  "can you take {it} out of the picture", "please delete {it} from the photo", "{it} should be gone")
ADD = (
    "add {a}{place}", "put {a}{place}", "place {a}{place}", "draw {a}{place}", "insert {a}{place}", "please add {a}{place}",
    "can you add {a}{place}", "could you put {a}{place}", "i want {a}{place}", "there should be {a}{place}", "let there be {a}{place}",
    "i would like to see {a}{place}", "add {a}{place} please", "can you draw {a}{place}", "include {a}{place}", "show {a}{place}")
ADD_HELDOUT = ("please put {a}{place}", "could you draw {a}{place}", "i would like {a}{place}", "could you please add {a}{place}",
               "please insert {a}{place}", "can you show {a}{place}")
TEXTURE = (
    "make {it} {adjective}", "turn {it} {adjective}", "make {it} look {adjective}", "please make {it} {adjective}",
    "can you make {it} {adjective}", "give {it} {pattern}", "cover {it} with {pattern}", "could you give {it} {pattern}",
    "{it} should be {adjective}", "i want {it} to be {adjective}", "change the texture of {it} to {pattern}", "change {it} to {adjective}",
    "give {it} a {adjective} surface", "let {it} have {pattern}", "make the surface of {it} {adjective}", "i want {pattern} on {it}",
    "put {pattern} on {it}", "paint {pattern} on {it}")
TEXTURE_HELDOUT = ("please give {it} {pattern}", "could you make {it} look {adjective}", "please cover {it} with {pattern}",
                   "let {it} be {adjective}", "i would like {it} to be {adjective}", "change the surface of {it} to {pattern}")
BACKGROUND = (
    "change the background to {scene}", "replace the background with {scene}", "make the background {scene}",
    "set the background to {scene}", "put everything {where}", "show everything {where}", "can you change the background to {scene}",
    "please put it {where}", "could you make the background {scene}", "i want it to be {where}", "let it be {where}",
    "turn the background into {scene}", "make it look like it is {where}", "use {scene} as the background", "place everything {where}",
    "the background should be {scene}", "swap the background for {scene}")
BACKGROUND_HELDOUT = ("please change the background into {scene}", "could you place everything {where}",
                      "i would like the background to be {scene}", "can you put everything {where}", "please use {scene} as the background",
                      "let the background be {scene}")
LOOK = (
    "make it {adjective}", "make the picture {adjective}", "make the photo {adjective}", "make the image {adjective}",
    "please make it {adjective}", "can you make it {adjective}", "could you make the picture {adjective}", "i want it {adjective}",
    "make everything {adjective}", "it should be {adjective}", "make it look {adjective}", "make this {adjective}",
    "change it to {adjective}", "the picture should be {adjective}", "make the whole picture {adjective}")
LOOK_HELDOUT = ("could you please make it {adjective}", "i would like the picture to be {adjective}", "please make the image {adjective}",
                "let it be {adjective}", "can you make the photo look {adjective}", "the image should look {adjective}")
STYLE = (
    "turn it into {noun}", "make it {noun}", "make it look like {noun}", "turn the picture into {noun}", "turn the photo into {noun}",
    "change it to {noun}", "convert it to {noun}", "convert the image to {noun}", "i want {noun}", "please turn it into {noun}",
    "can you make it look like {noun}", "could you turn this into {noun}", "as {noun}", "in the style of {noun}",
    "change the style to {noun}", "the picture should look like {noun}", "show it as {noun}", "draw it as {noun}")
STYLE_HELDOUT = ("could you please convert it to {noun}", "please make the picture look like {noun}", "i would like it as {noun}",
                 "can you turn the image into {noun}", "change the image into {noun}", "please show this as {noun}")
WORDINGS = {     # kind of wording -> (train, held out)
    "recolour": (RECOLOUR, RECOLOUR_HELDOUT), "remove": (REMOVE, REMOVE_HELDOUT), "add": (ADD, ADD_HELDOUT),
    "texture": (TEXTURE, TEXTURE_HELDOUT),
    "background": (BACKGROUND, BACKGROUND_HELDOUT), "look": (LOOK, LOOK_HELDOUT), "style": (STYLE, STYLE_HELDOUT)}

ADJECTIVES = {     # global looks, said as "make it ..."
    "brighter": ("brighter", "lighter", "much brighter", "bright and light"),
    "darker": ("darker", "much darker", "less bright"),
    "warmer": ("warmer", "warmer in colour", "warm"),
    "cooler": ("cooler", "colder in colour", "bluer", "cool"),
    "foggy": ("foggy", "misty", "look like a foggy day", "full of fog"),
    "night": ("night", "look like night", "look like it is night", "nighttime"),
    "sunset": ("sunset", "look like sunset", "golden like sunset", "look like the evening sun"),
    "winter": ("winter", "snowy", "look like winter", "look like a snowy winter day"),
    "autumn": ("autumn", "look like autumn", "look like fall", "autumn in colour"),
    "vivid": ("more colourful", "more vivid", "vivid", "more saturated")}
SAYINGS = {     # whole instructions for looks, train only
    "brighter": ("brighten it", "brighten the picture", "increase the brightness", "add more light", "more light please"),
    "darker": ("darken it", "darken the picture", "reduce the brightness", "less light please"),
    "warmer": ("warm up the colours", "add a warm light", "use warmer colours"),
    "cooler": ("cool down the colours", "add a cold light", "use cooler colours"),
    "foggy": ("add fog", "add some fog", "cover it with fog", "let there be fog"),
    "night": ("turn day into night", "turn it into night", "change the time to night", "change day to night"),
    "sunset": ("turn it into a sunset", "add a golden sunset light", "change the time to sunset", "turn it into golden hour"),
    "winter": ("turn it into winter", "change the season to winter", "cover everything with snow", "turn the picture into winter"),
    "autumn": ("turn it into autumn", "change the season to autumn", "change the season to fall", "turn the leaves orange"),
    "vivid": ("make the colours stronger", "increase the saturation", "use stronger colours", "make the colours more vivid"),
    "black_and_white": ("remove the colours", "remove all colour", "no colour please"),
    "sepia": ("add a sepia tone", "apply sepia", "use brown tones"),
    "sketch": ("sketch it", "draw it with a pencil", "make a pencil drawing of it"),
    "poster": ("use only a few flat colours", "make a poster of it", "make it flat like a poster"),
    "pixel_art": ("pixelate it", "use big pixels", "make it look like an old video game"),
    "watercolour": ("paint it with watercolour", "paint it in watercolour", "make a watercolour painting of it"),
    "negative": ("invert the colours", "invert it", "make a negative of it"),
    "vintage": ("make it look old", "age the photo", "apply a vintage look")}
STYLE_NOUNS = {
    "black_and_white": ("black and white", "a black and white photo", "greyscale", "a grey picture"),
    "sepia": ("sepia", "a sepia photo", "a brown sepia picture"),
    "sketch": ("a sketch", "a pencil sketch", "a pencil drawing", "a drawing"),
    "poster": ("a poster", "pop art", "a pop art poster", "a flat poster"),
    "pixel_art": ("pixel art", "a pixel art picture", "an old video game"),
    "watercolour": ("a watercolour", "a watercolour painting", "a painting in watercolour"),
    "negative": ("a negative", "a photo negative", "a negative image"),
    "vintage": ("a vintage photo", "an old photo", "a faded old photo")}
SCENE_NOUNS = {
    "meadow": ("a meadow", "a green meadow", "a field of grass"), "desert": ("a desert", "a sandy desert", "the desert"),
    "snow": ("a snowy field", "a field of snow", "snow"), "beach": ("a beach", "a sunny beach", "the beach"),
    "night": ("a dark starry night", "a starry sky", "a field at night"), "mountains": ("mountains", "the mountains", "a mountain view"),
    "city": ("a city", "a city street", "the city"), "space": ("space", "outer space", "a strange planet")}
SCENE_PLACES = {
    "meadow": ("in a meadow", "on the grass", "on a green meadow"), "desert": ("in the desert", "in a desert", "on desert sand"),
    "snow": ("in the snow", "in a snowy field", "on snow"), "beach": ("at the beach", "on a beach", "by the sea"),
    "night": ("under a starry sky", "under the stars", "in a field at night"),
    "mountains": ("in the mountains", "in front of mountains", "near the mountains"),
    "city": ("in the city", "in a city", "on a city street"), "space": ("in space", "in outer space", "on a strange planet")}
TEXTURE_WORDS = {     # adjectives, and patterns that a thing is given
    "striped": (("striped", "stripy"), ("stripes", "a striped pattern")),
    "dotted": (("dotted", "spotted"), ("dots", "a dotted pattern", "spots")),
    "checkered": (("checkered", "checked"), ("checks", "a checkered pattern")),
    "wooden": (("wooden", "wooden"), ("wood", "a wooden texture")),
    "golden": (("golden", "golden"), ("gold", "a golden texture")), "plain": (("plain", "plain"), ("a plain surface", "one plain colour"))}
UNTEXTURE = ("remove the {pattern} from {it}", "take the {pattern} off {it}", "{it} without {pattern}")
PLURALS = {kind: kind + "s" for kind in KINDS} | {"cloud": "clouds"}
NUMBERS = {2: "two", 3: "three"}
PLACES = {
    "left": (" on the left", " on the left side", " to the left"), "middle": (" in the middle", " in the centre"),
    "right": (" on the right", " on the right side", " to the right"), "sky": (" in the middle of the sky", " in the sky in the middle"),
    "sky left": (" in the sky on the left", " on the left of the sky"),
    "sky right": (" in the sky on the right", " on the right of the sky")}
NOWHERE = ("", "", "", " in the picture", " in the scene")


def american(text: str) -> str:
    return text.replace("colour", "color").replace("grey", "gray").replace("centre", "center")


def words_in(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


@cache
def instruction_words() -> frozenset[str]:
    """Every single word that those instructions can hold, in British and American spelling."""
    parts: list[str] = [*COLOUR_NAMES, *KINDS, *PLURALS.values(), *NUMBERS.values(), *NOWHERE, *UNTEXTURE,
                        "another all both the a an"]
    for train, heldout in WORDINGS.values():
        parts += train + heldout
    for table in (ADJECTIVES, STYLE_NOUNS, SCENE_NOUNS, SCENE_PLACES, PLACES, SAYINGS):
        parts += [phrase for phrases in table.values() for phrase in phrases]
    parts += [phrase for groups in TEXTURE_WORDS.values() for group in groups for phrase in group]
    parts += [*SLOTS, "in the sky", "of"]
    text = re.sub(r"\{[a-z]+\}", " ", " ".join(parts))
    return frozenset(words_in(text) + words_in(american(text)))
