//! Compares the hidden states of the same texts under two settings, such as another device, another
//! format of the weights, other batches, or a converted copy of the model.

use serde::Serialize;

use crate::similarity::cosine;
use crate::{Embedder, Error, Result, TextInput, TokenEmbeddings};

/// Sample texts for comparisons: short and long texts, with digits, accents and another script, and
/// an empty text.
pub const SAMPLE_TEXTS: [&str; 8] = [
    "Water",
    "The cat sat on the mat.",
    "A man is playing a guitar in the garden behind the old house.",
    "In 2011, the 3.0 release (for £25 – or €30) sold 1,000 copies.",
    "Die Straße von Zürich nach São Paulo führt über Kraków.",
    "東京は日本の首都です。",
    "",
    "The river rises in the hills above the old town, where the snow lies until the end of April, and runs \
     through forests and meadows for two hundred miles before it reaches the sea. Boats went up and down it \
     long before there were roads; the houses along its banks still have their doors on the side of the \
     water. When the railway came, most of the traffic left, and the harbour became a place for children to \
     swim in and for old men to sit beside and talk about the weather.",
];

/// The differences between hidden states, over all tokens of some texts.
///
/// ```text
/// max_abs    = max over texts, tokens t and dimensions d of |a_td − b_td|
/// min_cosine = min over texts and tokens t of a_t · b_t / (|a_t| |b_t|)
/// ```
///
/// a and b are the last hidden states under the two settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The largest difference between two values.
    pub max_abs: f32,
    /// The smallest cosine between the two vectors of a token, in [−1, 1].
    pub min_cosine: f32,
    /// The index of the text with the largest difference; among equal ones the first.
    pub worst_index: usize,
    /// Texts compared so far.
    pub texts: usize,
    /// Tokens of these texts.
    pub tokens: usize,
}

impl Default for Verification {
    /// Returns a verification without texts or differences.
    fn default() -> Self {
        Self {
            max_abs: 0.0,
            min_cosine: 1.0,
            worst_index: 0,
            texts: 0,
            tokens: 0,
        }
    }
}

impl Verification {
    /// Compares further texts, computed under both settings ([`Embedder::embed_tokens`]).
    ///
    /// # Errors
    /// If the tokens of a text or the widths of its vectors differ, because the two are then not
    /// the same model.
    pub fn add(&mut self, expected: &[TokenEmbeddings], found: &[TokenEmbeddings]) -> Result<()> {
        for (expected, found) in expected.iter().zip(found) {
            let index = self.texts;
            if let Some((expected, found)) = other_tokens(&expected.pieces, &found.pieces) {
                return Err(Error::NotTheSameModel {
                    index,
                    expected,
                    found,
                });
            }
            for (a, b) in expected.vectors.iter().zip(&found.vectors) {
                if a.len() != b.len() {
                    let [expected, found] =
                        [a, b].map(|vector| format!("{} values per token", vector.len()));
                    return Err(Error::NotTheSameModel {
                        index,
                        expected,
                        found,
                    });
                }
                let largest = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                if largest > self.max_abs {
                    (self.max_abs, self.worst_index) = (largest, index);
                }
                // Equal vectors may have a cosine that rounds to less than 1.
                if largest > 0.0 {
                    self.min_cosine = self.min_cosine.min(cosine(a, b));
                }
            }
            self.tokens += expected.vectors.len();
            self.texts += 1;
        }
        Ok(())
    }

    /// Counts a text that was not compared.
    pub fn skip(&mut self) {
        self.texts += 1;
    }
}

/// Returns the first difference between two lists of pieces, if any.
fn other_tokens(expected: &[String], found: &[String]) -> Option<(String, String)> {
    if expected.len() != found.len() {
        return Some((
            format!("{} tokens", expected.len()),
            found.len().to_string(),
        ));
    }
    let (one, other) = expected
        .iter()
        .zip(found)
        .find(|(one, other)| one != other)?;
    Some((format!("the token `{one}`"), format!("`{other}`")))
}

/// Computes the texts with two embedders and compares them token by token.
///
/// ```
/// use albert_tasks::tools::{SAMPLE_TEXTS, verify};
/// use albert_tasks::{Embedder, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let files = ModelFiles::builtin()?;
/// let one = Embedder::load(&files, &RunOptions::default())?;
/// let other = Embedder::load(&files, &RunOptions::default().with_batch_tokens(64))?;
/// assert!(verify(&SAMPLE_TEXTS, &one, &other)?.max_abs < 1e-4);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// See [`Embedder::embed_tokens`] and [`Verification::add`].
pub fn verify<I: TextInput + Sync>(
    texts: &[I],
    one: &Embedder,
    other: &Embedder,
) -> Result<Verification> {
    let mut verification = Verification::default();
    verification.add(&one.embed_tokens(texts)?, &other.embed_tokens(texts)?)?;
    Ok(verification)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(vectors: &[[f32; 2]]) -> TokenEmbeddings {
        let pieces = vectors.iter().map(|_| "▁a".to_string()).collect();
        TokenEmbeddings {
            pieces,
            tokens: vectors.len(),
            truncated: false,
            vectors: vectors.iter().map(|vector| vector.to_vec()).collect(),
        }
    }

    #[test]
    fn the_worst_text_is_found_over_several_calls() {
        let mut verification = Verification::default();
        verification
            .add(&[text(&[[1.0, 0.0]])], &[text(&[[1.0, 0.25]])])
            .unwrap();
        verification.skip();
        let (expected, found) = (
            text(&[[3.0, 4.0], [1.0, 0.0]]),
            text(&[[3.0, 4.0], [0.0, 1.0]]),
        );
        verification.add(&[expected], &[found]).unwrap();
        verification
            .add(&[text(&[[2.0, 0.0]])], &[text(&[[1.0, 0.0]])])
            .unwrap();
        let expected = Verification {
            max_abs: 1.0,
            min_cosine: 0.0,
            worst_index: 2,
            texts: 4,
            tokens: 4,
        };
        assert_eq!(verification, expected);
        let json = r#"{"max_abs":1.0,"min_cosine":0.0,"worst_index":2,"texts":4,"tokens":4}"#;
        assert_eq!(serde_json::to_string(&verification).unwrap(), json);
    }

    #[test]
    fn equal_states_have_the_cosine_one_and_no_difference() {
        let mut verification = Verification::default();
        verification
            .add(&[text(&[[0.1, 0.7]])], &[text(&[[0.1, 0.7]])])
            .unwrap();
        assert_eq!((verification.max_abs, verification.min_cosine), (0.0, 1.0));
    }

    #[test]
    fn other_tokens_are_another_model() {
        let message = |found: TokenEmbeddings| {
            Verification::default()
                .add(&[text(&[[1.0, 0.0]])], &[found])
                .unwrap_err()
                .to_string()
        };
        let longer = text(&[[1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(
            message(longer),
            "text 0: expected 1 tokens, found 2; the models differ"
        );
        let mut renamed = text(&[[1.0, 0.0]]);
        renamed.pieces[0] = "▁b".to_string();
        assert_eq!(
            message(renamed),
            "text 0: expected the token `▁a`, found `▁b`; the models differ"
        );
        let mut wider = text(&[[1.0, 0.0]]);
        wider.vectors[0].push(0.0);
        let expected =
            "text 0: expected 2 values per token, found 3 values per token; the models differ";
        assert_eq!(message(wider), expected);
    }
}
