"""The checks of rerankers."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from qwen_retrieval.doctor import golden
from qwen_retrieval.doctor.candidates import (
    NEAR_SCORE,
    RIGHT,
    Diagnosis,
    diagnose_scores,
)
from qwen_retrieval.doctor.checks import Check, fix, gets_ids, listed, reachable
from qwen_retrieval.doctor.probes import ANSWERS, INSTRUCTION, QUERIES, TRAPS, long_text
from qwen_retrieval.doctor.report import Finding, failed, passed, skipped
from qwen_retrieval.doctor.subject import RerankerSubject
from qwen_retrieval.errors import ServerRefusedError

SAME_SCORE = 5e-3
"""Between two computations of the same prompt, in whatever precision."""

SEEN = 1e-4
"""A change of scores that is more than rounding."""

NO_REFERENCE = "needs a copy of the model to compare with: --local FOLDER"


def kind(subject: RerankerSubject) -> Finding:
    """See whether pairs are scored, and by more than a cosine."""
    subject.client.score([(QUERIES[0], ANSWERS[0])])
    return passed("scores pairs")


def answers(subject: RerankerSubject) -> Finding:
    """See whether the score is P("yes") and not P("no")."""
    found = subject.scores()
    diagnosis = diagnose_scores(subject, found, None) if subject.copy is not None else None
    own = np.array([each[n] for n, each in enumerate(found.values())])
    others = np.array([np.delete(each, n).max() for n, each in enumerate(found.values())])
    swapped = bool((own < others).all() and (1 - own > 0.5).all())  # noqa: PLR2004
    if diagnosis is not None:
        swapped = diagnosis.agrees and diagnosis.nearest == "yes and no swapped"
    if swapped:
        return failed(
            f"right answers score {own.max():.3f} at most, wrong ones up to {others.max():.3f}:"
            " yes and no are swapped",
            fix(subject, "answers"),
        )
    return passed('P("yes")')


def same_model(subject: RerankerSubject) -> Finding:
    """Compare scores with the copy's, or with published ones."""
    if subject.copy is not None:
        diagnosis = diagnose_scores(subject, subject.scores(), None)
        if diagnosis is None:  # the copy always answers
            return skipped(NO_REFERENCE)
        words = f"largest difference to the copy {diagnosis.right:.1e}"
        if diagnosis.right <= NEAR_SCORE:
            return passed(words)
        if diagnosis.agrees:
            return passed(f"the copy's scores of another prompt ({diagnosis.nearest})")
        return failed(words, fix(subject, "model"))
    known = None if subject.is_foreign else golden.scores(subject.settings.model)
    if known is None:
        return skipped(NO_REFERENCE)
    found = subject.client.score([(known.query, each) for each in known.documents])
    apart = float(np.abs(found - known.values).max())
    words = f"largest difference to published scores {apart:.3f}"
    return (
        passed(words) if apart <= golden.NEAR_PROBABILITY else failed(words, fix(subject, "model"))
    )


def template(subject: RerankerSubject) -> Finding:
    """Compare what other clients get from the engine's rerank path with the official prompt."""
    if subject.settings.server is None:
        return _template(diagnose_scores(subject, subject.scores(), None), subject)
    if subject.dialect.rerank is None:
        return skipped("the engine takes finished prompts only")
    found = {query: subject.text_scores(query, ANSWERS) for query in QUERIES}
    return _template(diagnose_scores(subject, found, None), subject)


def instructed(subject: RerankerSubject) -> Finding:
    """See whether another instruction reaches the prompt."""
    server = subject.settings.server
    if server is not None and not subject.dialect.takes_instruction:
        return skipped(
            f"{subject.client.engine.title} has one instruction; others are refused here"
        )
    if server is None or subject.dialect.rerank is None:
        found = subject.scores(INSTRUCTION)
    else:
        found = {query: subject.text_scores(query, ANSWERS, INSTRUCTION) for query in QUERIES}
    diagnosis = diagnose_scores(subject, found, INSTRUCTION)
    if diagnosis is None:
        return skipped(NO_REFERENCE)
    if diagnosis.nearest == RIGHT:
        return passed(f"scores follow it to {diagnosis.right:.1e}")
    if diagnosis.right <= SEEN:
        return skipped("this model's scores do not depend on the instruction")
    return failed(
        f"scores are those of {diagnosis.nearest}, {diagnosis.right:.4f} from the right ones",
        fix(subject, "instruction"),
    )


def batch(subject: RerankerSubject) -> Finding:
    """Compare pairs alone with the same pairs in a ragged batch."""
    pairs = [(QUERIES[0], each * (n + 1)) for n, each in enumerate(ANSWERS)]
    together = np.asarray(subject.client.score(pairs))
    alone = np.concatenate([np.asarray(subject.client.score([pair])) for pair in pairs])
    apart = float(np.abs(together - alone).max())
    words = f"largest difference of alone and together {apart:.1e}"
    return passed(words) if apart <= SAME_SCORE else failed(words, fix(subject, "batch"))


def long(subject: RerankerSubject) -> Finding:
    """See whether a long document is read to its end."""
    limit = subject.served.context if subject.settings.server is not None else None
    room = min(limit or 2048, 2048, subject.settings.max_length or 2048) - 160
    sentences = max(room // len(subject.ids(long_text(1, ""))) - 1, 1)
    ends = [long_text(sentences, last) for last in (ANSWERS[0], "It is open.")]
    first, second = subject.client.score([(QUERIES[0], each) for each in ends])
    tokens = len(subject.ids(ends[0]))
    if first == second:
        return failed(
            f"two documents of {tokens} tokens with different ends score the same",
            fix(subject, "long text"),
        )
    return passed(f"{tokens} tokens read to the end: {first:.4f} and {second:.4f}")


def traps(subject: RerankerSubject) -> Finding:
    """Score what came out as NaN elsewhere."""
    for text in TRAPS:
        try:
            subject.client.score([(QUERIES[2], text)])
        except ArithmeticError:
            return failed(f"{text!r:.40} comes out as NaN or infinity", fix(subject, "trap texts"))
        except ServerRefusedError as error:
            if error.status != 500:  # noqa: PLR2004 - that is how some servers say NaN
                raise
            return failed(f"{text!r:.40} comes out as status 500", fix(subject, "trap texts"))
    return passed(f"{len(TRAPS)} documents are finite")


def known_answers(subject: RerankerSubject) -> Finding:
    """See whether each question's answer comes first."""
    found = list(subject.scores().values())
    right = sum(int(scores.argmax()) == n for n, scores in enumerate(found))
    words = f"{right} of {len(QUERIES)} questions find their answer"
    return passed(words) if right == len(QUERIES) else failed(words, fix(subject, "known answers"))


def variance(subject: RerankerSubject) -> Finding:
    """See whether different pairs get different scores, and not all next to nothing."""
    found = np.concatenate(list(subject.scores().values()))
    words = f"scores from {found.min():.4f} to {found.max():.4f}"
    apart = float(found.max() - found.min())
    return passed(words) if apart > SEEN else failed(words, fix(subject, "scores vary"))


def speed(subject: RerankerSubject) -> Finding:
    """Measure a batch of pairs, and single pairs."""
    pairs = [
        (query, f"{answer} ({n})") for n in range(4) for query in QUERIES for answer in ANSWERS
    ]
    began = time.perf_counter()
    subject.client.score(pairs)
    many = time.perf_counter() - began
    waits = []
    for n in range(5):
        began = time.perf_counter()
        subject.client.score([(QUERIES[0], f"{ANSWERS[0]} {n}")])
        waits.append(time.perf_counter() - began)
    return passed(f"{len(pairs) / many:,.0f} short pairs/s; one pair {1000 * median(waits):.0f} ms")


def _template(diagnosis: Diagnosis | None, subject: RerankerSubject) -> Finding:
    if diagnosis is None:
        return skipped(NO_REFERENCE)
    if diagnosis.nearest == RIGHT and diagnosis.right <= NEAR_SCORE:
        return passed(f"the official prompt's scores to {diagnosis.right:.1e}")
    cause = f" ({diagnosis.nearest})" if diagnosis.agrees else ""
    return failed(
        f"{diagnosis.right:.3f} from the official prompt's scores{cause}",
        fix(subject, "template"),
    )


_ASKED = ("reachable", "reranker")
_VALUES = (*_ASKED, "variance", "yes and no")
CHECKS = (
    Check("reachable", reachable, "reachable"),
    Check("model and version", listed, "listed", ("reachable",)),
    Check("reranker", kind, "reranker", ("reachable",)),
    Check("variance", variance, "scores vary", _ASKED),
    Check("yes and no", answers, "answers", (*_ASKED, "variance")),
    Check("same model", same_model, "model", _VALUES),
    Check("template", template, "template", (*_VALUES, "same model"), others_only=gets_ids),
    Check(
        "instruction honoured",
        instructed,
        "instruction",
        (*_VALUES, "same model", "template"),
        others_only=gets_ids,
    ),
    Check("batch equals single", batch, "batch", (*_ASKED, "variance")),
    Check("long text", long, "long text", (*_ASKED, "variance")),
    Check("trap texts", traps, "trap texts", _ASKED),
    Check("known answers", known_answers, "known answers", (*_VALUES, "same model", "template")),
    Check("speed", speed, "reachable", _ASKED, is_slow=True),
)
"""In the order of the table."""
