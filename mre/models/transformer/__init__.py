"""The reward condition on diffusion transformers: FLUX.2 and Qwen-Image."""
