"""The network as image prior, its fit to the consensus image, and the machine it runs on."""
