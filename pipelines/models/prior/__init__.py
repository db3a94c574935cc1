"""HiST-Sypo, the prior of JavisDiT (arXiv 2503.23377): its estimator at the released size, and a pocket prior that we trained.

JavisDiT's official training of the prior uses a token hinge loss, a discriminator cross-entropy, an MSE and a video-audio margin, each for
spatial and for temporal tokens, and a KL term of weight 1e-6 to a standard normal; its negatives are augmented video and audio. These are
in ``pipelines/training/prior_losses.py``. The training losses of the pocket prior are ours, not the paper's: InfoNCE between draws and
clips, a KL term with free nats, and the likelihood of the layout.
"""
