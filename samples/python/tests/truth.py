"""Attention and skip softmax by loops over rows and keys, in double precision: from the paper, not the package."""
import math

import numpy as np


def seen(query, key, window=None, causal=True):
    """Whether the query at a position sees the key at one."""
    if causal and key > query:
        return False
    return not window or abs(query - key) < window


def scores(q, k, scale, softcap=None, window=None, causal=True, past=0):
    """[heads, n, m]; -inf where hidden. q [heads, n, d] at positions past, past + 1, ...; k [kv heads, m, d]."""
    q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
    group = len(q) // len(k)
    out = np.full((len(q), q.shape[1], k.shape[1]), -math.inf)
    for head in range(len(q)):
        for row in range(q.shape[1]):
            for key in range(k.shape[1]):
                if seen(row + past, key, window, causal):
                    score = scale * float(q[head, row] @ k[head // group, key])
                    out[head, row, key] = softcap * math.tanh(score / softcap) if softcap else score
    return out


def weights(scores, sinks=None):
    """Softmax of each row, with the head's sink in the sum."""
    out = np.zeros_like(scores)
    for head, row in np.ndindex(scores.shape[:2]):
        line = scores[head, row]
        extra = [] if sinks is None else [float(sinks[head])]
        top = max([*line, *extra])
        if top == -math.inf:
            continue
        parts = [math.exp(one - top) for one in line]
        total = sum(parts) + sum(math.exp(one - top) for one in extra)
        out[head, row] = [part / total for part in parts]
    return out


def margins(scores, rows, keys, vote="head", order="ascending", splits=1, kv_heads=1):
    """[units, R, C]: max over voting rows of (block's maximum - running maximum); NaN unseen, +inf first."""
    heads, n, m = scores.shape
    group = heads // kv_heads if vote == "group" else 1
    units, down, across = heads // group, -(-n // rows), -(-m // keys)
    out = np.full((units, down, across), math.nan)
    for unit in range(units):
        for i in range(down):
            voters = [(head, row) for head in range(unit * group, unit * group + group)
                      for row in range(i * rows, min(n, i * rows + rows))]

            def top(voter, j):
                return max(scores[voter[0], voter[1], j * keys:(j + 1) * keys])
            # Splits are of the blocks that this unit's own head visits; every head of a group sees the same ones.
            visited = [j for j in range(across) if any(top(voter, j) > -math.inf for voter in voters)]
            if order == "descending":
                visited.reverse()
            run = -(-len(visited) // splits) if visited else 1
            for begin in range(0, len(visited), run):
                running = {voter: -math.inf for voter in voters}
                for j in visited[begin:begin + run]:
                    votes = []
                    for voter in voters:
                        value = top(voter, j)
                        if value > -math.inf:
                            votes.append(value - running[voter])
                            running[voter] = max(running[voter], value)
                    out[unit, i, j] = max(votes)
    return out


def attend(scores, v, lambda_, rows, keys, vote="head", order="ascending", splits=1, kv_heads=1, sinks=None):
    """(output [heads, n, dv], skipped [units, R, C]) of skip softmax: the definition, block after block."""
    heads, n, m = scores.shape
    margin = margins(scores, rows, keys, vote, order, splits, kv_heads)
    with np.errstate(invalid="ignore"):
        skipped = margin < math.log(lambda_) if lambda_ > 0 else np.zeros(margin.shape, bool)
    share, group = heads // len(margin), heads // len(v)
    left = scores.copy()
    for head, row, key in np.ndindex(scores.shape):
        if skipped[head // share, row // rows, key // keys]:
            left[head, row, key] = -math.inf
    weight = weights(left, sinks)
    v = np.asarray(v, np.float64)
    return np.stack([weight[head] @ v[head // group] for head in range(heads)]), skipped


def picture(weight, scores, queries, keys, rows, columns):
    """(max, mean) [r, c] of one head's weights [n, m], over visible entries; NaN where there are none."""
    rows, columns = min(rows, queries[1] - queries[0]), min(columns, keys[1] - keys[0])
    down = [queries[0] + i * (queries[1] - queries[0]) // rows for i in range(rows + 1)]
    across = [keys[0] + i * (keys[1] - keys[0]) // columns for i in range(columns + 1)]
    most, mean = np.full((rows, columns), math.nan), np.full((rows, columns), math.nan)
    for i in range(rows):
        for j in range(columns):
            cell = [weight[row, key] for row in range(down[i], down[i + 1]) for key in range(across[j], across[j + 1])
                    if scores[row, key] > -math.inf]
            if cell:
                most[i, j], mean[i, j] = max(cell), sum(cell) / len(cell)
    return most, mean, down, across
