"""The one button of a form that is meant first has the color of the theme's own choices."""

from magicgui.widgets import PushButton
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

_MARK = "dip_fusion_primary"


def mark_primary(button: PushButton, primary: bool = True) -> None:
    """Make a button the one that is meant first, or a plain one again."""
    native = button.native
    if native.property(_MARK) == primary:
        return
    native.setProperty(_MARK, primary)
    # Qt looks at properties only when it gives a widget its style.
    native.style().unpolish(native)
    native.style().polish(native)


def make_primary_style(theme: str) -> str:
    """Return the style sheet by which marked buttons are seen, in the colors of a napari theme."""
    colors = get_theme(theme)
    ground = QColor(colors.current.as_hex())
    # Disabled, it looks as every other button does.
    selector = f'QPushButton[{_MARK}="true"]:enabled'
    return (
        f"{selector} {{ background-color: {ground.name()}; color: {colors.text.as_hex()};"
        " font-weight: bold; }"
        f"{selector}:hover {{ background-color: {ground.lighter(115).name()}; }}"
        f"{selector}:pressed {{ background-color: {ground.darker(115).name()}; }}"
        # Of napari, a part that is unfolded has a title in this very color.
        f"QCollapsible > QPushButton:checked {{ background-color: {colors.primary.as_hex()}; }}"
    )
