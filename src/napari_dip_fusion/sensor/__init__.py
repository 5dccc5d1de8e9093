"""The sensor model X_i = beta_i X_0 + N_i, without torch.

``noise`` and ``denoising`` deal with the noise N_i, ``gains`` estimates the gains beta_i, and
``consensus`` computes the least-squares image T of the sources under their gains. ``bands`` splits
the sources into base and details, which have gains of their own, and adds up the T of both.
``analysis`` makes all of these steps for the sources of one fusion.
"""
