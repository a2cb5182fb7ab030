"""English abuse and swearing: the short list that ships with the grader ``lexicon``.

Left out on purpose: words that are abuse in some sentences only (dumb, pig, ass), mild ones (fool, silly),
and slurs against groups, of which maintained lists exist; they go into a file of one's own.
"""

from __future__ import annotations

ABUSIVE_WORDS = (
    *("arsehole", "asshole", "asswipe", "bastard", "bitch", "bullshit", "cocksucker", "cunt", "dickhead"),
    *("dipshit", "douchebag", "dumbass", "fuck", "fucker", "fuckhead", "halfwit", "idiot", "idiotic"),
    *("imbecile", "jackass", "moron", "moronic", "motherfucker", "motherfucking", "numbskull", "piss off"),
    *("scumbag", "shit", "shithead", "shitty", "shut up", "slut", "son of a bitch", "stfu", "stupid"),
    *("tosser", "twat", "wanker", "whore"),
)
