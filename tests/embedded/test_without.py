"""Without the small editor's code and weights, everything else works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import run_program
from tests.training.conftest import editor, tree  # noqa: F401

GONE = ("mre/embedded", "mre/assets/tiny", "mre/assets/tiny-baseline", "mre/assets/tiny-reader")
TABLE = ROOT / "mre" / "families.py"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The program without them."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("app.py", "train.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("mre", "ui"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in GONE:
        shutil.rmtree(folder / name)
    return folder


def run(copy: Path, code: str, *arguments: object) -> dict:
    """What a program in that copy prints last, as JSON."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=copy, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


IMPORT = """
import json, sys
import mre, mre.families
from mre.training.config import PRESETS, TrainConfig
try:
    mre.GatedRewardUNet
except AttributeError as error:
    print(json.dumps({"file": mre.__file__, "families": [family.name for family in mre.families.families()], "presets": list(PRESETS),
                      "start": TrainConfig().init_from, "says": str(error), "torch": "torch" in sys.modules}))
"""


def test_the_core_imports_and_says_what_it_does_not_have(copy):
    found = run(copy, IMPORT)
    assert Path(found["file"]).is_relative_to(copy)
    assert found["families"] == ["smartedit"]
    assert found["presets"] == ["reward-smartedit", "insp2p", "reward-insp2p", "reward-klein", "reward-qwen-edit"]
    assert found["start"] == "insp2p"
    assert "GatedRewardUNet" in found["says"]
    assert not found["torch"]


TRAIN = """
import csv, json, sys
from importlib.util import find_spec
from pathlib import Path
from mre.training.config import TrainConfig
from mre.training.loop import Run
assert find_spec("mre.embedded") is None
editor, tree, out, plain = sys.argv[1:]
off = {"use_score": False, "use_text": False}
losses = {}
for name, start, given in (("plain", plain, off), ("reward", editor, {"rewards": f"{tree}/rewards.json"})):
    config = TrainConfig(out=f"{out}/{name}", init_from=start, data="pix2pix", data_dir=tree, resolution=16, batch_size=2, accumulation=1,
                         max_steps=2, log_every=1, reward_init="released", validation_every=2, validation_samples=1, **given)
    Run(config).train()
    losses[name] = [float(row["loss"]) for row in csv.DictReader(Path(config.out, "log.csv").open())]
print(json.dumps(losses))
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A folder with a small editor of the stock U-Net."""
    from tests import tiny_models

    folder = tmp_path_factory.mktemp("plain")
    tiny_models.pipeline(tiny_models.reward_unet(use_score=False, use_text=False), default_steps=2).save_pretrained(folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    stock = {name: value for name, value in config.items() if not name.startswith(("reward_", "use_")) and name != "variant"}
    (folder / "unet" / "config.json").write_text(json.dumps(stock | {"_class_name": "UNet2DConditionModel"}))
    return folder


def forked(copy: Path, code: str, *arguments: object) -> dict:
    """The same of a program that has torch already."""
    return json.loads(run_program("-c", code, *arguments, cwd=copy).splitlines()[-1])


def test_the_trainer_trains_a_plain_unet_and_one_with_rewards(copy, editor, tree, plain, tmp_path):      # noqa: F811
    losses = forked(copy, TRAIN, editor, tree, tmp_path, plain)
    assert {name: len(values) for name, values in losses.items()} == {"plain": 2, "reward": 2}
    assert all(0 < value < 100 for values in losses.values() for value in values)


STUDIO = """
import json, sys
from importlib.util import find_spec
from pathlib import Path
from PIL import Image
from mre.editors.settings import EditSettings
from ui.app import build_app
from ui.studio import Studio, StudioSettings
assert find_spec("mre.embedded") is None
settings = StudioSettings(models=(sys.argv[1],), data=Path(sys.argv[2]))
build_app(settings)
studio = Studio(settings)
edited = studio.editor().edit(Image.new("RGB", (16, 16), "green"), EditSettings("make it red"))
print(json.dumps({"models": studio.models, "size": edited.image.size}))
"""


def test_the_studio_edits_with_another_editor(copy, editor, tmp_path):      # noqa: F811
    found = forked(copy, STUDIO, editor, tmp_path / "data")
    assert found["models"] == [editor.name]
    assert found["size"] == [16, 16]


def test_no_room_but_the_table_of_families_imports_the_small_editor():
    for path in [*(ROOT / "mre").rglob("*.py"), *(ROOT / "ui").rglob("*.py"), ROOT / "app.py", ROOT / "train.py"]:
        if path != TABLE and not path.is_relative_to(ROOT / "mre" / "embedded"):
            assert not re.search(r"mre\.embedded|GatedRewardUNet|PatchAutoencoder", path.read_text(encoding="utf-8")), path
