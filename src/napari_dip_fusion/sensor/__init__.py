"""The sensor model X_i = beta_i X_0 + N_i: noise, gains and the consensus image, without torch."""
