"""Writes pieces.json: how the models' own regular expressions cut texts, by the `regex` package. Checked in."""
import json
import os
import random
import regex

os.chdir(os.path.dirname(os.path.abspath(__file__)))
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
WORDS = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
RULES = {
    "gpt-2": [GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [WORDS % "{1,3}"],
    "qwen2": [WORDS % ""],
}


def cut(text, rules):
    pieces = [text]
    for rule in rules:
        out = []
        for piece in pieces:
            at = 0
            for match in regex.finditer(rule, piece):
                if match.start() > at:
                    out.append(piece[at:match.start()])
                if match.end() > match.start():
                    out.append(match.group())
                at = max(at, match.end())
            if at < len(piece):
                out.append(piece[at:])
        pieces = out
    return pieces


random.seed(1)
parts = ["the", " the", "I'll", "We'VE", "don't", "x'", " '", "''s", "12", " 3456", "7", "3.14", "\n", "\n\n", "\r\n", " ",
         "  ", "   ", "\t", "été", " Ünï", "中文", "日", "한국", "١٢٣", "½", "Ⅷ", "²", "!", "...", " (", ")", "{};", "$", " +=", "<|x|>",
         "~", "^", "_", "-", "—", "«", "🙂", " 🙂", "e\u0301", "\u00a0", "\u3000", "\u200b", "a_b", "CamelCase", "٪", "№", "a\u0300b"]
texts = ["".join(random.choice(parts) for _ in range(random.randint(1, 9))) for _ in range(400)]
json.dump([{"text": t, **{name: cut(t, rules) for name, rules in RULES.items()}} for t in texts],
          open("pieces.json", "w"), ensure_ascii=True, indent=0)
