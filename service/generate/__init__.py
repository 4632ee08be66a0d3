"""A model's reply -> statements whose quotes stand in their passages. No network: text in, text out.

What a model writes is not trusted. Each sentence must name a passage and quote it; the quote must stand there, and the
cheap signs of invention must be absent (`support`). A sentence that fails is dropped. What passes is shown with the
source's own words beside it; that it *follows* from them is for the reader to judge.
"""

from service.generate.draft import MAX_STATEMENTS, Draft
from service.generate.prompt import CitedPassage, Prompt, make_prompt

__all__ = ["MAX_STATEMENTS", "CitedPassage", "Draft", "Prompt", "make_prompt"]
