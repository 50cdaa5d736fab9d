#!/usr/bin/env bash
# Finds words and openings that a native engineer would stop at, in sources and documentation.
# CONTRIBUTING.md, "Prose", says what to write instead.
set -uo pipefail
cd "$(dirname "$0")/.."

sources=('*.rs' '*.md' '*.py' '*.sh' '*.toml' '*.yml' '*.cu' '*.cpp' '*.cuh'
    ':!scripts/check-prose.sh' ':!CONTRIBUTING.md' ':!**/tests/fixtures/**' ':!fuzz/corpus/**')
found=0

# Sample texts and test data may use any word.
samples='in the garden behind the|walking behind the empty house|old men to sit beside|The text tells of'

# The lines of tracked files that have a word or phrase.
lines_with() {
    git grep -nwiIE "$1" -- "${sources[@]}" | grep -vE "$samples"
}

# A word or phrase, and what to write in its place.
refuse() {
    if lines_with "$1"; then
        echo "^ $2" >&2
        found=1
    fi
}

refuse 'beside' 'next to, or compared with'
refuse 'stands? for' 'is, or replaces'
refuse 'tells?|told' 'reports, says or shows'
refuse 'where there (is|are) (such|one|none|any)' 'if any'
refuse 'what becomes? of|becomes? of' 'name the thing that is done'
refuse 'until said otherwise|unless said otherwise' 'unless set'
refuse 'till' 'until'
refuse 'asked for' 'requested'
refuse '(goes|go|went) on' 'continues, or resumes'
refuse '(taken|takes?) off' 'removed'
refuse 'cut short' 'truncated'
refuse 'but for' 'except for'
refuse 'likewise' 'in the same way, or like'
refuse 'one spelling' 'canonical name'
refuse 'the most (bytes|tokens|rows|characters|values|names|labels|sentences|answers|threads|files|texts|pieces)' \
    'the maximum number of'
refuse '(one|row|line|sentence|text|vector|score|word|piece|scale|record|object|bits?) an? (line|row|step|text|token|word|sequence|layer|value|byte|window)' \
    'per'

# American spelling, as in Rust's and Candle's documentation.
refuse '(recogni|initiali|normali|tokeni|optimi|quanti|organi|speciali|minimi|maximi|randomi|summari)s(e|ed|es|er|ing|ation)' \
    'write -ize'
refuse 'neighbours?|neighbouring|labelled|labelling|licences?|honoured|centred?|modelled|modelling|behaviours?|spelt|misspelt' \
    'American spelling'
refuse 'so many (bytes|lines|rows|tokens|steps|passes|items|inputs|channels|columns)' 'this many, or the name of the number'

# "behind" is for a proxy or a feature flag, not for an order or a place in a text.
if lines_with 'behind' | grep -viE 'prox(y|ies)|feature|flag|behind `'; then
    echo '^ after' >&2
    found=1
fi

# The first line of a documentation comment: a verb or a noun, not a question word.
if git ls-files -z '*.rs' | xargs -0 awk '
    FNR == 1 { previous = "" }
    {
        line = $0
        sub(/^[ \t]+/, "", line)
        marker = substr(line, 1, 4)
        if (marker ~ /^\/\/[\/!] $/ && previous != marker &&
            line ~ /^\/\/[\/!] (What|Whether|How|Where|Which|Who|Why|The same|As above)[ ,:]/) {
            print FILENAME ":" FNR ": " line
            bad = 1
        }
        previous = marker
    }
    END { exit !bad }'; then
    echo '^ begin with a verb ("Returns") or a noun phrase' >&2
    found=1
fi

if git grep -nE '"""(What|Whether|How|Where|Which|Who|Why|The same|As above)[ ,:]' -- '*.py'; then
    echo '^ begin with a verb ("Returns") or a noun phrase' >&2
    found=1
fi

exit "$found"
