//! The reason for each token, which the tokenizers crate does not give.

use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use super::model::Model;
use super::{HuggingFace, contained};
use crate::tokenizer::engine::Engine as _;
use crate::tokenizer::explain::{Explanation, Normalized, Rule};
use crate::{Error, Result};

impl HuggingFace {
    /// Returns the reason for each token of a joined encoding.
    pub(super) fn explanations(
        &self,
        encoding: &tokenizers::Encoding,
        texts: [&str; 2],
    ) -> Result<Vec<Explanation>> {
        let texts = texts.map(|text| text.chars().collect::<Vec<char>>());
        let mut explanations = Vec::with_capacity(encoding.len());
        for (at, &id) in encoding.get_ids().iter().enumerate() {
            if encoding.get_special_tokens_mask()[at] == 1 {
                explanations.push(Explanation::of(Rule::Template));
                continue;
            }
            let (start, end) = encoding.get_offsets()[at];
            let text = &texts[usize::from(encoding.get_type_ids()[at] == 1)];
            let part: String = text.get(start..end).unwrap_or_default().iter().collect();
            let rule = self.rule(encoding, at, &part);
            let mut explanation = Explanation::of(rule);
            if rule == Rule::UnigramPiece {
                explanation.score = match self.inner.get_model() {
                    Model::Unigram(model) => model.score(id).map(|score| score as f32),
                    Model::WordPiece(_) | Model::Other(_) => None,
                };
            }
            if !matches!(rule, Rule::SpecialToken | Rule::AddedToken) {
                explanation.normalized = self.normalized(&part)?;
            }
            explanations.push(explanation);
        }
        Ok(explanations)
    }

    /// Returns the rule that produced the token at `at` of `part`.
    fn rule(&self, encoding: &tokenizers::Encoding, at: usize, part: &str) -> Rule {
        let (id, token) = (encoding.get_ids()[at], &encoding.get_tokens()[at]);
        // The token for the unknown is an added token too, whether the text names it or not.
        if let Some(added) = self.inner.get_added_tokens_decoder().get(&id)
            && part.trim() == added.content
        {
            return if added.special {
                Rule::SpecialToken
            } else {
                Rule::AddedToken
            };
        }
        let model = self.inner.get_model();
        let is_unknown =
            model.unknown() == Some(token) || self.id_to_token(id).as_ref() != Some(token);
        match (model, model.continuation_prefix()) {
            (Model::Unigram(_), _) if is_unknown => Rule::UnknownCharacters,
            (Model::Unigram(_), _) => Rule::UnigramPiece,
            _ if is_unknown => Rule::UnknownWord,
            (_, Some(prefix)) if token.starts_with(prefix) => Rule::Continuation,
            (_, Some(prefix)) => match encoding.get_tokens().get(at + 1) {
                Some(next) if next.starts_with(prefix) => Rule::WordPiece,
                _ => Rule::WholeWord,
            },
            _ => Rule::Piece,
        }
    }

    /// Normalizes a part of a text by itself, step by step.
    fn normalized(&self, part: &str) -> Result<Option<Normalized>> {
        let mut text = NormalizedString::from(part);
        let mut steps = Vec::new();
        let whole = self.inner.get_normalizer();
        let parts: &[NormalizerWrapper] = match whole {
            Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref(),
            Some(step) => std::slice::from_ref(step),
            None => &[],
        };
        for step in parts {
            let before = text.get().to_string();
            contained(|| step.normalize(&mut text)).map_err(Error::Tokenize)?;
            if text.get() != before {
                let kind = serde_json::to_value(step)
                    .ok()
                    .and_then(|step| Some(step.get("type")?.as_str()?.to_string()));
                steps.push(kind.unwrap_or_else(|| "normalizer".to_string()));
                steps.dedup();
            }
        }
        let to = text.get().trim().to_string();
        let is_changed = !steps.is_empty() && to != part && !to.is_empty();
        Ok(is_changed.then(|| Normalized {
            from: part.to_string(),
            to,
            steps,
        }))
    }
}
