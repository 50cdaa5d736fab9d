//! The options for filling masks.

/// Options for [`MaskFiller::fill`](crate::MaskFiller::fill).
///
/// ```
/// use albert_tasks::FillOptions;
///
/// let options = FillOptions::default().with_top_k(3).with_beam(2);
/// assert!(options.joint && options.top_k == 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillOptions {
    /// The number of candidates for each mask.
    pub top_k: usize,
    /// Considers only these texts. `the` means the piece `▁the`; a text of several pieces is scored
    /// as described at [`Candidate::score`](crate::Candidate::score).
    pub targets: Option<Vec<String>>,
    /// True to fill the masks jointly: the mask whose best candidate is the most probable is filled
    /// first, then the others are scored again given that token, and so on. The candidates of a
    /// mask are those of its step, and their texts show the other masks filled as in the best of
    /// [`FilledText::fillings`](crate::FilledText::fillings).
    pub joint: bool,
    /// The width of the beam search over fillings, if masks are filled jointly: the number of
    /// hypotheses kept after each step, and of [`FilledText::fillings`](crate::FilledText::fillings). 1 and 0 mean greedy
    /// search.
    ///
    /// A wider beam takes that many times the passes, and may find a more probable filling.
    pub beam: usize,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self {
            top_k: 5,
            targets: None,
            joint: false,
            beam: 1,
        }
    }
}

impl FillOptions {
    /// Returns `top_k` candidates for each mask.
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Considers `targets` only.
    pub fn with_targets(mut self, targets: impl Into<Option<Vec<String>>>) -> Self {
        self.targets = targets.into();
        self
    }

    /// Sets whether masks are filled jointly or independently.
    pub fn with_joint(mut self, joint: bool) -> Self {
        self.joint = joint;
        self
    }

    /// Fills the masks jointly and keeps the `beam` best hypotheses after each step.
    pub fn with_beam(mut self, beam: usize) -> Self {
        (self.joint, self.beam) = (true, beam);
        self
    }
}
