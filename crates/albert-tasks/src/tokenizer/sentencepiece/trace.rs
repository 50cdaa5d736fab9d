//! A text as characters that remember where they come from and what was done to them.

/// A character on its way from the text to a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TracedChar {
    /// The current character.
    pub(super) c: char,
    /// The first character of the given text that it comes from.
    pub(super) start: u32,
    /// One past the last.
    pub(super) end: u32,
    /// The steps that changed it.
    pub(super) steps: Steps,
}

impl TracedChar {
    /// This character as `c`, changed by `step` if it is another one now.
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
    /// White space of any kind and length made one space.
    pub(super) const SPACES: Self = Self(1 << 1);
    /// Two ` or two ' made a quotation mark.
    pub(super) const QUOTES: Self = Self(1 << 2);
    /// Decomposed into its compatible parts.
    pub(super) const NFKD: Self = Self(1 << 3);
    /// Combining marks dropped, its own or those after it.
    pub(super) const ACCENTS: Self = Self(1 << 4);
    /// Replaced by the model's own map.
    pub(super) const CHARSMAP: Self = Self(1 << 5);

    const NAMES: [&'static str; 6] = [
        "lowercased",
        "spaces joined",
        "quotes joined",
        "NFKD",
        "accents dropped",
        "character map",
    ];

    /// Both sets.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns true if all of `other` are in the set.
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The steps in words.
    pub(super) fn names(self) -> Vec<String> {
        let names = Self::NAMES.iter().enumerate();
        names
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name.to_string())
            .collect()
    }
}

/// The characters of a text, each at its place.
pub(super) fn trace(text: &str) -> Vec<TracedChar> {
    let mut chars = Vec::with_capacity(text.len());
    // The caller refuses texts whose length does not fit.
    chars.extend((0u32..).zip(text.chars()).map(|(at, c)| TracedChar {
        c,
        start: at,
        end: at + 1,
        steps: Steps::default(),
    }));
    chars
}

/// From the first place of some characters to the last.
pub(super) fn place<'a>(chars: impl IntoIterator<Item = &'a TracedChar>) -> (u32, u32) {
    let whole = |(start, end): (u32, u32), traced: &TracedChar| {
        (start.min(traced.start), end.max(traced.end))
    };
    let (start, end) = chars.into_iter().fold((u32::MAX, 0), whole);
    (start.min(end), end)
}
