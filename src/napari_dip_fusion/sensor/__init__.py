"""The sensor model X_i = beta_i X_0 + N_i, without torch.

``noise`` and ``denoising`` deal with N_i, ``gains`` with beta_i, ``consensus`` with the image T
that both lead to, ``bands`` does the two latter in base and details, and ``analysis`` does all of
it for the sources of a fusion.
"""
