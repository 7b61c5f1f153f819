"""One encoder between instructions and the U-Net: the same for pipeline, trainer and cache."""

import numpy as np
import torch
from PIL import Image

from mre.models.instruction import EditCondition
from mre.pipeline import RewardEditPipeline
from tests.tiny_edits import edited, latents, photo
from tests.tiny_models import pipeline


def test_states_are_those_of_the_text_encoder_and_the_null_text_stands_for_no_instruction():
    editor = pipeline()
    context, null_context, residual = editor.instruction_encoder.encode(["red", "a blue sky", "red"])
    for text, states in (("red", context[0]), ("a blue sky", context[1]), ("red", context[2]), ("", null_context[0])):
        ids = editor.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
        torch.testing.assert_close(states, editor.text_encoder(ids)[0][0])
    assert residual is None


def test_a_frozen_encoder_reads_the_null_text_once_and_one_that_learns_reads_it_each_time():
    editor, read = pipeline(), []
    editor.text_encoder.register_forward_pre_hook(lambda module, args: read.append(len(args[0])))
    for frozen in (True, False):
        editor.text_encoder.requires_grad_(not frozen)
        encoder = editor.instruction_encoder
        for _ in range(2):
            encoder.encode(["red"])
    assert read == [2, 1, 2, 2]


class ByPicture:
    """Reads nothing but how bright the picture is."""

    reads_images = True

    def encode(self, instructions, images=None):
        light = torch.tensor([float(np.asarray(image).mean()) for image in images])
        return EditCondition(light[:, None, None].expand(-1, 4, 32), torch.zeros(1, 4, 32))

    def key(self, instruction, image=None):
        return str(image)


class PictureReader(RewardEditPipeline):
    """A pipeline with an encoder of its own."""

    instruction_encoder = ByPicture()


def test_a_pipeline_with_an_encoder_of_its_own_hands_it_each_instructions_picture():
    editor, contexts = pipeline(kind=PictureReader), []
    editor.unet.register_forward_pre_hook(lambda module, args, named: contexts.append(named["encoder_hidden_states"]), with_kwargs=True)
    grey = [Image.new("RGB", (16, 16), (level,) * 3) for level in (10, 200)]
    edited(editor, ["red", "blue"], grey, num_images_per_prompt=2, guidance_scale=2.0, latents=latents(4))
    assert contexts[0][:, 0, 0].tolist() == [10, 10, 200, 200] + 8 * [0]


def test_the_pipelines_encoder_is_what_edits():
    editor = pipeline()
    before = edited(editor, "red", photo())
    context, null_context, _ = editor.instruction_encoder.encode(["red"])
    given = edited(editor, None, photo(), prompt_embeds=context, negative_prompt_embeds=null_context)
    torch.testing.assert_close(given, before)
