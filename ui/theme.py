"""The look of the whole application, in one place: one quiet theme, light and dark, down to a phone's width.

Other tabs use the classes below (`card`, `muted`, `chip`, `chips`, `toolbar`, `notice`) and the `--mre-*` colours and
bring no own palette.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).parent / "assets"
SANS = ("Inter", "ui-sans-serif", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC",
        "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Roboto Mono", "DejaVu Sans Mono", "monospace")

ACCENT = gr.themes.Color(c50="#eefbf8", c100="#d3f4ec", c200="#a8e8db", c300="#72d5c4", c400="#3fbba9", c500="#22a08f", c600="#178074",
                         c700="#16675e", c800="#16524d", c900="#164540", c950="#062825", name="accent")
STONE = gr.themes.Color(c50="#fafaf9", c100="#f4f4f2", c200="#e8e7e4", c300="#d6d4d0", c400="#a5a29c", c500="#78756f", c600="#57544f",
                        c700="#43413d", c800="#292826", c900="#1b1a19", c950="#121211", name="stone")


def theme() -> gr.themes.Base:
    """The theme; fonts are those of the visitor's own machine, so that nothing is fetched."""
    return gr.themes.Base(primary_hue=ACCENT, secondary_hue=ACCENT, neutral_hue=STONE, radius_size=gr.themes.sizes.radius_md,
                          spacing_size=gr.themes.sizes.spacing_md, text_size=gr.themes.sizes.text_md, font=SANS, font_mono=MONO).set(
        body_background_fill="*neutral_100", body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900", body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white", background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50", background_fill_secondary_dark="#211f1e",
        border_color_primary="*neutral_200", border_color_primary_dark="#353330",
        block_background_fill="white", block_background_fill_dark="*neutral_900",
        block_border_width="1px", block_shadow="none", block_shadow_dark="none",
        block_label_background_fill="*background_fill_primary", block_label_background_fill_dark="*background_fill_primary",
        block_label_border_width="0px", block_label_border_width_dark="0px",
        block_label_text_color="*neutral_600", block_label_text_color_dark="*neutral_400", block_label_text_weight="500",
        block_title_text_weight="550", block_title_text_color="*neutral_800", block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_400",
        input_background_fill="*neutral_50", input_background_fill_dark="#211f1e",
        input_border_color="*neutral_300", input_border_color_dark="#45423e", input_border_width="1px",
        input_border_color_focus="*primary_500", input_border_color_focus_dark="*primary_400",
        input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
        slider_color="*primary_600", slider_color_dark="*primary_400",
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600", button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white", button_primary_text_color_dark="white", button_primary_border_color="transparent",
        button_secondary_background_fill="white", button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="#2b2927", button_secondary_background_fill_hover_dark="#383532",
        button_secondary_border_color="*neutral_300", button_secondary_border_color_dark="#45423e",
        button_secondary_text_color="*neutral_800", button_secondary_text_color_dark="*neutral_100",
        button_large_text_weight="600", button_small_text_weight="500", button_border_width="1px",
        checkbox_label_background_fill="transparent", checkbox_label_background_fill_dark="transparent",
        checkbox_background_color_selected="*primary_600", checkbox_background_color_selected_dark="*primary_500",
    )


def css() -> str:
    """All style rules of the application."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(ASSETS.glob("*.css")))


def head() -> str:
    """Scripts of the application, in the page's head: no file of another host."""
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ASSETS.glob("*.js")))
    return f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<script>\n{scripts}\n</script>'


def first_script() -> str:
    """What runs before Gradio's own scripts."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ASSETS / "first").glob("*.js")))
