"""The sensor model X_i = beta_i X_0 + N_i, without torch.

``noise`` and ``denoising`` deal with the noise N_i, ``gains`` estimates the gains beta_i, and
``consensus`` computes the least-squares image T of the sources under their gains. ``bands`` splits
the sources into base and details, ``coherence`` gives both gains that choose the same source, and
``undershoot`` finds what is lost between them; ``model`` puts these together. ``analysis`` makes
all of these steps for the sources of one fusion. ``windows``, ``strips`` and ``threads`` are what
they compute with.
"""
