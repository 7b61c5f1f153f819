"""The editor that ships: a small network trained on synthetic scenes, and everything that exists only for it.

Without this folder and its weights in `mre/assets` the program works with all other editors.
"""

from mre.families import Family

FAMILY = Family(
    name="embedded",
    parts={"unet": {"GatedRewardUNet": "mre.embedded.gated", "GenericRewardUNet": "mre.embedded.generic_unet"},
           "vae": {"PatchAutoencoder": "mre.embedded.patch_autoencoder"}},
    fresh={"embedded": ("mre.embedded.build:fresh_pipeline", "a fresh embedded model"),
           "embedded-generic": ("mre.embedded.build:fresh_generic_pipeline", "a fresh embedded model that knows nothing of drawn scenes"),
           "embedded-smart": ("mre.embedded.smart:fresh_smart_pipeline", "a fresh small SmartEdit"),
           "embedded-plain": ("mre.embedded.smart:fresh_plain_pipeline", "a fresh plain editor of that one's size")},
    reader="mre.embedded.reader:load_reader",
    first_words="mre.embedded.train_words:write_start",
    settings="mre.embedded.settings:EmbeddedSettings",
    presets="mre.embedded.settings:PRESETS",
    training_example="python train.py --preset tiny --out runs/tiny --max-minutes 60",
    loss_term="mre.embedded.masks:ChangeMasks",
    objectives={"norms": ("mre.embedded.energy:WindowNorms", "one edit, by norms over windows of pixels (embedded models)"),
                "energy": ("mre.embedded.energy:EnergyScore", "the spread of edits at low scores, two draws a step (embedded models)")},
    models="mre.embedded.names:MODELS",
    capabilities="mre.embedded.names:capabilities",
    vocabulary="mre.embedded.names:vocabulary_of",
    dtype="float32",                # they are small, and a page's examples and tables are of these very numbers
)
