"""SmartEdit (arXiv 2312.06739): a language model reads picture and instruction; what it understood goes to the U-Net."""

from mre.families import Family

FAMILY = Family(
    name="smartedit",
    pipelines={"SmartEditPipeline": "mre.smartedit_pipeline"},
    more_parts={"vision_tower": "model", "language_model": "model", "projector": "diffusion_pytorch_model",
                "connector": "diffusion_pytorch_model", "language_head": "diffusion_pytorch_model", "llm_tokenizer": ""},
    layout="mre.models.smartedit.layout",
    presets="mre.models.smartedit.settings:PRESETS",
    training_example="python train.py --preset reward-smartedit --data-dir TRIPLETS --rewards FILE --cache-latents CACHE --out RUN",
    models="mre.models.smartedit.settings:MODELS",
)
