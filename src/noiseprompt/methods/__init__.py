"""Ways to make the noise an image starts from, one file a method; their options, strength and controls.

What several share: the guidance gap, attention maps, subjects of a prompt, the scorer that steers. Names: `table.py`.
"""
