"""What forms, help texts and documents are built from: the description of each setting."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from napari_dip_fusion.config.groups import Settings


@dataclass(frozen=True)
class Setting:
    """What a form, a help text or a document needs to know of one setting.

    Attributes
    ----------
    name : str
        Unique among all settings.
    path : str
        Where it stands in :class:`FusionConfig`, such as ``network.width``.
    group : str
        The settings that it is shown among, such as ``network``.
    title : str
        What a form calls it.
    help : str
        One sentence or more.
    unit : str or None
        Such as ``pixels``.
    choices : tuple of str, or None
        The allowed values, where they can be listed.
    minimum, maximum : float or None
        The allowed range, both ends included.
    default : object
    annotation : type
        With its range, as :mod:`typing` writes it.
    """

    name: str
    path: str
    group: str
    title: str
    help: str
    unit: str | None
    choices: tuple[str, ...] | None
    minimum: float | None
    maximum: float | None
    default: Any
    annotation: Any


def find_group(info: FieldInfo) -> type[Settings] | None:
    """Return the model of a field that holds a group of settings, None for a single setting."""
    model = info.annotation
    return model if isinstance(model, type) and issubclass(model, Settings) else None


def describe_settings(model: type[Settings]) -> tuple[Setting, ...]:
    """Return the descriptions of all settings of a model, those of its groups included."""
    described: list[Setting] = []
    for name, info in model.model_fields.items():
        group = find_group(info)
        if group is None:
            described.append(_describe_setting(name, info, path=name, group=name))
        else:
            described += [
                _describe_setting(n, i, path=f"{name}.{n}", group=name)
                for n, i in group.model_fields.items()
            ]
    return tuple(described)


def _describe_setting(name: str, info: FieldInfo, *, path: str, group: str) -> Setting:
    # What pydantic's own constraints cannot say stands in the extra part of the JSON schema.
    extra: Any = info.json_schema_extra or {}
    bounds = {type(m).__name__: m for m in info.metadata}
    listed = get_args(info.annotation) if get_origin(info.annotation) is Literal else None
    choices = extra.get("choices", listed)
    whole: Any = info.annotation
    return Setting(
        name=name,
        path=path,
        group=extra.get("group", group),
        title=info.title or name.replace("_", " ").capitalize(),
        help=str(info.description),
        unit=extra.get("unit"),
        choices=None if choices is None else tuple(choices),
        minimum=extra.get("minimum", bounds["Ge"].ge if "Ge" in bounds else None),
        maximum=extra.get("maximum", bounds["Le"].le if "Le" in bounds else None),
        default=info.default,
        annotation=Annotated[(whole, *info.metadata)] if info.metadata else whole,
    )
