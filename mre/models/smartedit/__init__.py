"""SmartEdit (arXiv 2312.06739): a language model reads picture and instruction; what it understood goes to the U-Net."""
