"""CLIP-I, CLIP-T and FID against values worked out another way."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import linalg

from mre.errors import ModelError
from mre.metrics import ClipFeatures, frechet_distance, similarities


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """A CLIP model of a few thousand random weights, saved as such models are."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(33, 127)]
    words = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = sizes | {"vocab_size": len(words), "max_position_embeddings": 20, "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    torch.manual_seed(0)
    vision = sizes | {"image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 20}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}))
    return str(folder)


def noise(seed: int, size=(40, 32)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def test_a_picture_is_most_like_itself_and_batches_do_not_matter(tiny_clip):
    clip = ClipFeatures(tiny_clip)
    pictures = [noise(seed) for seed in range(20)]
    together = clip.of_images(pictures)
    alone = np.concatenate([clip.of_images([picture]) for picture in pictures])
    assert together.shape == (20, 24)
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(similarities(together, together), 1)
    assert (similarities(together[:-1], together[1:]) < 1).all()


def test_image_features_are_the_models_own_of_the_picture_that_clip_would_see(tiny_clip):
    """Resize, centre crop and normalise by hand, and the projection of the vision tower by its parts."""
    import torch
    from transformers import CLIPModel

    picture = noise(3, (48, 32))
    seen = np.asarray(picture.crop((8, 0, 40, 32)), np.float32) / 255
    seen = (seen - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array([0.26862954, 0.26130258, 0.27577711])
    model = CLIPModel.from_pretrained(tiny_clip).eval()
    with torch.no_grad():
        pooled = model.vision_model(torch.tensor(seen, dtype=torch.float32).permute(2, 0, 1)[None]).pooler_output
        expected = model.visual_projection(pooled).numpy()
    assert np.allclose(ClipFeatures(tiny_clip).of_images([picture]), expected, atol=1e-5)


def test_long_texts_are_cut_and_texts_differ(tiny_clip):
    features = ClipFeatures(tiny_clip).of_texts(["a red car", "a blue car", "x" * 500])
    assert features.shape == (3, 24)
    assert not np.allclose(features[0], features[1])


def test_cosine_of_known_rows():
    assert np.allclose(similarities(np.array([[3.0, 0], [1, 1]]), np.array([[0.0, 2], [2, 2]])), [0, 1])


def test_frechet_distance_of_equal_sets_is_0_and_of_moved_sets_the_square_of_the_way():
    features = np.random.default_rng(0).normal(size=(200, 6))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + 2.0) == pytest.approx(6 * 4.0)


def test_frechet_distance_equals_the_formula_with_a_matrix_square_root():
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(250, 5)) @ rng.normal(size=(5, 5)) + 1
    s1, s2 = np.cov(one.T), np.cov(two.T)
    expected = np.sum((one.mean(0) - two.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_needs_two_pictures_on_each_side():
    assert np.isnan(frechet_distance(np.zeros((1, 3)), np.zeros((5, 3))))


def test_a_folder_that_holds_no_clip_model_is_one_clear_line(tmp_path):
    with pytest.raises(ModelError, match="not a CLIP model"):
        ClipFeatures(str(tmp_path))


def test_magicbrush_edits_get_clip_i_and_clip_t_in_the_form_of_tables_2_and_7(tiny_clip, tmp_path, capsys):
    """The numbers in the tables are the cosines of the pictures on disk; an edit that is missing is counted."""
    import csv

    from mre.__main__ import main

    images = tmp_path / "magicbrush" / "images" / "7"
    images.mkdir(parents=True)
    turns, captions = [], {}
    for turn in (1, 2, 3):
        noise(turn, (64, 64)).save(images / f"7-input{turn}.png")
        noise(turn + 10, (64, 64)).save(images / f"7-output{turn}.png")
        turns.append({"input": f"7-input{turn}.png", "output": f"7-output{turn}.png", "instruction": f"do {turn}"})
        captions[f"7-output{turn}.png"] = f"picture {turn}"
    (tmp_path / "magicbrush" / "edit_turns.json").write_text(json.dumps(turns))
    (tmp_path / "magicbrush" / "local_descriptions.json").write_text(json.dumps({"7": captions}))
    out = tmp_path / "out"
    flags = ["bench", str(tmp_path / "magicbrush"), "--model", "tiny-untrained", "--out", str(out), "--steps", "1", "--clip", tiny_clip]
    assert main(flags) == 0
    assert "MagicBrush test: CLIP-I and CLIP-T" in capsys.readouterr().out
    clip = ClipFeatures(tiny_clip)
    edits = clip.of_images(Image.open(out / "tiny-untrained@5-5-5" / f"7-output{turn}.png") for turn in (1, 2, 3))
    targets = clip.of_images(Image.open(images / f"7-output{turn}.png") for turn in (1, 2, 3))
    texts = clip.of_texts(captions.values())
    row = next(csv.DictReader((out / "tables" / "table_2.csv").open(newline="")))
    assert float(row["CLIP-I"]) == pytest.approx(100 * similarities(edits, targets).mean(), rel=1e-4)
    assert float(row["CLIP-T"]) == pytest.approx(100 * similarities(edits, texts).mean(), rel=1e-4)
    assert (row["CLIP-I n"], row["CLIP-I missing"]) == ("3", "0")
    fid = next(csv.DictReader((out / "tables" / "table_7.csv").open(newline="")))["FID (CLIP features)"]
    assert float(fid) == pytest.approx(frechet_distance(edits, targets), rel=1e-4)
