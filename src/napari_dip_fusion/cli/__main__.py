"""``python -m napari_dip_fusion.cli``."""

from napari_dip_fusion.cli import main

if __name__ == "__main__":
    main()
