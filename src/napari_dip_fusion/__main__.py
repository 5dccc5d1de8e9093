"""``python -m napari_dip_fusion``: the command, where its folder is not on the search path."""

from napari_dip_fusion.cli import main

if __name__ == "__main__":
    main()
