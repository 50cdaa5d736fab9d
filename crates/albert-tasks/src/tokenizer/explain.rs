//! Explains a tokenization: for each token the rule that produced it, and the normalized text.

use serde::Serialize;

/// The rule that made a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Rule {
    /// A special token added around the text.
    #[serde(rename = "template")]
    Template,
    /// A special token that occurs in the text.
    #[serde(rename = "special token")]
    SpecialToken,
    /// A token added to the vocabulary, which is matched before the text is segmented.
    #[serde(rename = "added token")]
    AddedToken,
    /// A symbol that the SentencePiece model keeps whole.
    #[serde(rename = "user-defined symbol")]
    UserDefined,
    /// Part of the most probable segmentation.
    #[serde(rename = "unigram piece")]
    UnigramPiece,
    /// Part of a piece that ended in a digit and a comma and was segmented again without the comma.
    #[serde(rename = "digit-comma rule")]
    DigitComma,
    /// Characters that no piece covers.
    #[serde(rename = "unknown characters")]
    UnknownCharacters,
    /// A word that is a piece of the vocabulary.
    #[serde(rename = "whole word")]
    WholeWord,
    /// The longest prefix of a word that is a piece.
    #[serde(rename = "word piece")]
    WordPiece,
    /// The longest piece that continues a word.
    #[serde(rename = "continuation")]
    Continuation,
    /// A word that pieces cannot represent.
    #[serde(rename = "unknown word")]
    UnknownWord,
    /// A piece of another model, such as BPE.
    #[serde(rename = "piece")]
    Piece,
}

/// The reason for one token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The rule.
    pub rule: Rule,
    /// A unigram piece's score, the logarithm of its probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// The piece that was cut again by the digit-comma rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_from: Option<String>,
    /// The text before it was cut, if normalization changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalized: Option<Normalized>,
}

/// The change of a token's part of the text before it was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Normalized {
    /// The part as it was given.
    pub from: String,
    /// The normalized part.
    pub to: String,
    /// The steps that changed it.
    pub steps: Vec<String>,
}

impl Explanation {
    /// Creates an explanation that is only a rule.
    pub(super) fn of(rule: Rule) -> Self {
        Self {
            rule,
            score: None,
            cut_from: None,
            normalized: None,
        }
    }
}

/// One line for people: `unigram piece, score -7.31; É -> e: NFKD, accents dropped, lowercased`.
impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = serde_json::to_value(self.rule).map_err(|_| std::fmt::Error)?;
        f.write_str(name.as_str().unwrap_or_default())?;
        if let Some(piece) = &self.cut_from {
            write!(f, " on {piece}")?;
        }
        if let Some(score) = self.score {
            write!(f, ", score {score:.2}")?;
        }
        if let Some(Normalized { from, to, steps }) = &self.normalized {
            write!(f, "; {from} -> {to}: {}", steps.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_fits_a_line_and_a_json_object() {
        let normalized = Normalized {
            from: "É".into(),
            to: "e".into(),
            steps: vec!["NFKD".into()],
        };
        let explanation = Explanation {
            score: Some(-7.25),
            normalized: Some(normalized),
            ..Explanation::of(Rule::UnigramPiece)
        };
        assert_eq!(
            explanation.to_string(),
            "unigram piece, score -7.25; É -> e: NFKD"
        );
        assert_eq!(
            serde_json::to_string(&explanation).unwrap(),
            r#"{"rule":"unigram piece","score":-7.25,"normalized":{"from":"É","to":"e","steps":["NFKD"]}}"#
        );
        let rule = Explanation {
            cut_from: Some("▁5,".into()),
            ..Explanation::of(Rule::DigitComma)
        };
        assert_eq!(rule.to_string(), "digit-comma rule on ▁5,");
    }
}
