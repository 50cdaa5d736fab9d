//! A text as characters with their origin and the steps that changed them.

/// A character during normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TracedChar {
    /// The current character.
    pub(super) c: char,
    /// The index of the first character of the original text from which it comes.
    pub(super) start: u32,
    /// The end index (exclusive).
    pub(super) end: u32,
    /// The steps that changed it.
    pub(super) steps: Steps,
}

impl TracedChar {
    /// Returns this character replaced by `c`, marked as changed by `step` if it differs.
    pub(super) fn becomes(self, c: char, step: Steps) -> Self {
        let steps = if c == self.c {
            self.steps
        } else {
            self.steps.with(step)
        };
        Self { c, steps, ..self }
    }
}

/// A set of steps that change text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Steps(u8);

impl Steps {
    /// Lowercased.
    pub(super) const LOWERCASE: Self = Self(1);
    /// White space replaced by one space.
    pub(super) const SPACES: Self = Self(1 << 1);
    /// Two ` or two ' replaced by a quotation mark.
    pub(super) const QUOTES: Self = Self(1 << 2);
    /// Decomposed into its compatible parts.
    pub(super) const NFKD: Self = Self(1 << 3);
    /// Combining marks removed, in it or after it.
    pub(super) const ACCENTS: Self = Self(1 << 4);
    /// Replaced by the model's character map.
    pub(super) const CHARSMAP: Self = Self(1 << 5);

    const NAMES: [&'static str; 6] = [
        "lowercased",
        "spaces joined",
        "quotes joined",
        "NFKD",
        "accents dropped",
        "character map",
    ];

    /// Returns the union of both sets.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns true if all of `other` are in the set.
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the names of the steps.
    pub(super) fn names(self) -> Vec<String> {
        let names = Self::NAMES.iter().enumerate();
        names
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name.to_string())
            .collect()
    }
}

/// Returns the characters of a text with their positions.
pub(super) fn trace(text: &str) -> Vec<TracedChar> {
    trace_from(text, 0)
}

/// Returns the characters of a part of a text, which begins at a character of the whole.
pub(super) fn trace_from(text: &str, start: u32) -> Vec<TracedChar> {
    let mut chars = Vec::with_capacity(text.len());
    // The caller refuses texts whose length does not fit u32.
    chars.extend((start..).zip(text.chars()).map(|(at, c)| TracedChar {
        c,
        start: at,
        end: at + 1,
        steps: Steps::default(),
    }));
    chars
}

/// Returns the range from the first to the last position of some characters.
pub(super) fn place<'a>(chars: impl IntoIterator<Item = &'a TracedChar>) -> (u32, u32) {
    let whole = |(start, end): (u32, u32), traced: &TracedChar| {
        (start.min(traced.start), end.max(traced.end))
    };
    let (start, end) = chars.into_iter().fold((u32::MAX, 0), whole);
    (start.min(end), end)
}
