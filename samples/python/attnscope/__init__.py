"""attnscope for PyTorch: what attention does while a model runs, skip softmax that reports, and a probe of any kernel.

    import attnscope
    with attnscope.attach(model, to="viewer", tokenizer=tokenizer):
        model.generate(**inputs, max_new_tokens=200)

`attach` and `detach`, and `probe` (which tiles a deployed kernel really skips).
"""
from .attach import Attachment, Stopped, attach, detach
from .probe import Probe, probe
from .rules import Rules, Tile

__all__ = ["Attachment", "Probe", "Rules", "Stopped", "Tile", "attach", "detach", "probe"]
__version__ = "0.1.0"
