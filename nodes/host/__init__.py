"""Every use of ComfyUI beyond its public node API: our networks and codecs as the host's MODEL, CLIP and VAE, and the
guider that runs a strategy. Checked against ComfyUI 0.33; the floor is 0.30.
"""
