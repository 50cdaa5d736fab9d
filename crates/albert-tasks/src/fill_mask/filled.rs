//! The results of filling masks.

use serde::Serialize;

/// A text with candidates for its masks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledText {
    /// The masks in order.
    pub masks: Vec<FilledMask>,
    /// The filled texts, most probable first, if masks were filled jointly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fillings: Vec<Filling>,
    /// True if the text was truncated after its last mask.
    pub truncated: bool,
}

/// A mask with its candidates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledMask {
    /// The index of the mask among the tokens; `[CLS]` has the index 0.
    pub position: usize,
    /// The candidates, best first.
    pub candidates: Vec<Candidate>,
}

/// A candidate for a mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The decoded piece, or pieces.
    pub token: String,
    /// The id of the piece; `None` for several.
    pub id: Option<u32>,
    /// The ids of several pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    /// The probability over the whole vocabulary. For a target of k pieces, k masks replace the
    /// mask and are filled from left to right; the score is the product of their probabilities.
    pub score: f32,
    /// The text with this mask replaced.
    pub text: String,
}

/// All masks of a text, filled jointly.
///
/// ```
/// use albert_tasks::{FillOptions, MaskFiller, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let options = FillOptions::default().with_beam(3);
/// let filled = filler.fill(&["The [MASK] sat on the [MASK]."], &options)?;
/// let fillings = &filled[0].fillings;
/// assert_eq!(fillings.len(), 3);
/// assert!(fillings[0].score >= fillings[1].score && !fillings[0].text.contains("[MASK]"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filling {
    /// The decoded pieces at each mask, in the order of the text.
    pub tokens: Vec<String>,
    /// The ids of each mask's pieces.
    pub ids: Vec<Vec<u32>>,
    /// The product, over the masks, of the probability of the pieces chosen: each given the text
    /// and the masks filled before it, and the most confident mask first.
    ///
    /// ```text
    /// P(w₁ … wₙ) = Π over t of P(w_σ(t) | text, w_σ(1) … w_σ(t−1));   σ(t) = argmax over open m of max over w of P(w at m | …)
    /// ```
    ///
    /// The product depends on the order σ, since a masked language model has no joint distribution.
    pub score: f64,
    /// The text with all masks replaced.
    pub text: String,
}
