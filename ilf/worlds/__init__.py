"""Closed worlds with ground truth: everything that people would say about a text can be computed.

A world is one file with one frozen dataclass that has the methods of ``ilf.protocols.World``: it draws
facts, writes the prompt, spoils a completion the way the noisy web does, and plays the annotator (critiques,
rankings, demonstrations, each with a price in seconds) and the grader. Saved as ``ilf/worlds/sums.py`` it is
``world: sums`` in a recipe, the strategy ``pretrain`` makes a model for it from its ``episodes``, and every
other part works on it unchanged.

What a world owes: all randomness comes from the generator it is handed; ``facts`` is plain JSON and enough
for ``prompt``; completions bring their own leading space, critiques have none; an empty text has grade 0.0.
Experience with ``nano`` says to spoil systematically (a fault in more than half of the texts outlives greedy
decoding, independent rare faults do not) and to let the critiques of the episodes name only some of the
faults (otherwise any critique at all, even of another text, means "write cleanly").
"""
