"""The mistakes people make in the syntax of a spec: what to tell them, and texts that show each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORESEEN", "Foreseen"]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A mistake people make."""

    message: str
    hint: str
    examples: str  # one per line, each stumbling over the mistake first; ⏎ is a line break within one

    def texts(self) -> list[str]:
        """The examples."""
        return [line.strip().replace("⏎", "\n") for line in self.examples.strip().splitlines()]


FORESEEN = (
    Foreseen(
        "a value follows its word after a space, without `=` or `:`",
        "cut filters 50%",
        """
        cut = 50%
        cut filters = 50%
        cut filters 50% = 3
        cut 50% by = l1
        cut keep = 32
        cut: 50%
        cut filters: 50%
        cut 50% by: l1
        """,
    ),
    Foreseen(
        "an argument is given its value with `=`",
        "random(seed=1)",
        """
        cut 50% by random(seed: 1)
        cut 50% by random(seed:1)
        model edsr(blocks 16)
        model edsr(a=1, blocks 16)
        model edsr(a=1, blocks: 16)
        model edsr("blocks": 16)
        """,
    ),
    Foreseen(
        "the brace stands on the line of its statement",
        "mark filters 50% {",
        """
        mark 50%⏎{ free by l1
        """,
    ),
    Foreseen(
        "this is not a spec: a spec is lines of words",
        "cut filters 50% by l1",
        """
        {"cut": 0.5}
        ["cut"]
        <cut>
        = 50%
        (cut)
        """,
    ),
    Foreseen(
        "names of files and of code are quoted",
        '"net.py:build", "zoo:edsr", "weights/edsr.safetensors"',
        """
        model zoo:edsr
        model net.py:build
        model dir/net.py
        model ../net.py
        model ./net.py
        model /net.py
        model ~/net.py
        model C:\\net.py
        model my-net.py
        model edsr from ./w.pth
        model edsr from /w.pth
        model edsr from ../w.pth
        model edsr from ~/w.pth
        model edsr from dir/w.pth
        model edsr from w-2.pth
        model edsr(a=1) from dir/w.pth
        save as a-b
        save as a/b
        """,
    ),
    Foreseen(
        "a comment begins with `#`",
        "# like this",
        """
        // a comment
        /* a comment */
        -- a comment
        % a comment
        cut // a
        cut 50% // a
        cut 50% by l1 // a
        cut /* a */
        cut 50% /* a */
        cut 50% -- a
        """,
    ),
    Foreseen(
        "these are not the quotes of this language",
        'put it between " and "',
        """
        model “edsr”
        model edsr from “w.pth”
        model ‘edsr’
        model edsr from ‘a’
        model «edsr»
        protect `tail`
        model edsr from `a`
        """,
    ),
    Foreseen(
        "a number has a digit before its point",
        "0.5",
        """
        cut .5
        cut filters .5
        cut keep .5
        cut 50% by lamp(p=.5)
        let r = .5
        train until params <= .5
        """,
    ),
    Foreseen(
        "the percent sign stands behind the number",
        "50%",
        """
        cut %50
        cut filters %50
        cut keep %50
        let r = %50
        """,
    ),
    Foreseen(
        "a variable is written without `$`",
        "cut filters r, after `let r = 50%`",
        """
        cut $r
        cut ${r}
        cut filters $r
        cut filters ${r}
        cut keep $r
        cut keep ${r}
        let r = $x
        let $r = 50%
        $r = 50%
        model edsr(a=$r)
        """,
    ),
    Foreseen(
        "`let` needs a name, `=` and a value",
        "let r = 50%",
        """
        let
        let r
        let r 50%
        let r =
        let = 50%
        let r: 50%
        let r := 50%
        let r <= 50%
        """,
    ),
    Foreseen(
        "`let` gives a single value",
        "let r = 50%; a loop takes several: repeat for r in 10%, 50% { … }",
        """
        let r = random(seed=1)
        """,
    ),
    Foreseen(
        "a word such as `by`, `in`, `keep` or `at` needs something to follow it",
        "by l1, in body.**, keep 32, at 1280x720",
        """
        cut 50% by
        cut by, globally
        cut by { free
        cut 50% keep
        cut keep, by l1
        cut by <= 3
        """,
    ),
    Foreseen(
        "`until` needs a metric, `<=` and a limit",
        "until params <= 700K, until macs <= 40.6G at 1280x720",
        """
        cut until
        cut until params 700K
        cut until params <=
        cut until <= 700K
        cut until params: 700K
        cut until params = = 3
        """,
    ),
    Foreseen(
        "a limit follows `until`",
        "until params <= 700K",
        """
        cut params <= 700K
        cut filters params <= 700K
        cut 50% >= 3
        """,
    ),
    Foreseen(
        "`multiple` needs `of` and a number",
        "multiple of 8",
        """
        multiple
        multiple 8
        multiple = 8
        multiple of
        multiple, of
        cut 50% multiple of, by l1
        """,
    ),
    Foreseen(
        "`per` needs `layer`",
        "per layer",
        """
        cut per
        cut 50% per group
        cut per 50%
        cut 50% per, by l1
        """,
    ),
    Foreseen(
        "there is a comma too many",
        "remove it",
        """
        , cut
        cut ,
        cut 50%,,
        cut,{
        cut by l1, ;
        """,
    ),
    Foreseen(
        "nothing follows `}` on its line",
        "what belongs to the statement stands before `{`; the next statement begins a new line",
        """
        mark 50% { free by l1 } cut
        mark 50% { free by l1 } 50%
        mark 50% { free by l1 } in a
        mark 50% { free by l1 } by l1
        mark 50% { free by l1 } globally
        mark 50% { free by l1 } per layer
        mark 50% { free by l1 } multiple of 8
        mark 50% { free by l1 } until 3
        mark 50% { free by l1 } except a
        mark 50% { free by l1 } while a
        mark 50% { free by l1 } 3
        mark 50% { free by l1 } a.b
        mark 50% { free by l1 } "a"
        mark 50% { free by l1 }, by l1
        mark 50% { free by l1 } { a
        """,
    ),
)
