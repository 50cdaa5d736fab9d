//! The prompts that a model's files name.
//!
//! Source: sentence-transformers 5.1, `SentenceTransformer.encode_query` and `encode_document`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::EmbedOptions;
use crate::json::JsonObject;
use crate::{Error, ModelFiles, Result};

const SETTINGS: &str = "config_sentence_transformers.json";

/// The names that a prompt for queries has.
const QUERY: [&str; 1] = ["query"];

/// The names that a prompt for documents has, most preferred first.
const DOCUMENT: [&str; 3] = ["document", "passage", "corpus"];

/// A model's prompts by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Prompts(BTreeMap<String, String>);

impl Prompts {
    /// Reads the prompts of `config_sentence_transformers.json`.
    ///
    /// # Errors
    /// If they are not strings by name.
    pub(super) fn from_files(files: &ModelFiles) -> Result<Self> {
        let Some(settings) = JsonObject::read(files, SETTINGS)? else {
            return Ok(Self::default());
        };
        let Some(prompts) = settings.get("prompts") else {
            return Ok(Self::default());
        };
        let wrong = || settings.unexpected("prompts", "an object of strings", prompts);
        let entry = |(name, prompt): (&String, &Value)| {
            let prompt = prompt.as_str().ok_or_else(wrong)?;
            Ok((name.clone(), prompt.to_string()))
        };
        let prompts = prompts.as_object().ok_or_else(wrong)?.iter().map(entry);
        Ok(Self(prompts.collect::<Result<_>>()?))
    }

    /// Returns the prompts by name.
    pub(super) fn by_name(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Returns the prompt of this name.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn get(&self, name: &str) -> Result<&str> {
        match self.0.get(name) {
            Some(prompt) => Ok(prompt),
            None if self.0.is_empty() => Err(Error::NoPrompts(name.to_string())),
            None => Err(Error::UnknownName {
                what: "prompt",
                name: name.to_string(),
                expected: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Returns options with the prompt for queries, if there is one.
    pub(super) fn for_queries(&self) -> EmbedOptions {
        self.first_of(&QUERY)
    }

    /// Returns options with the prompt for documents, if there is one.
    pub(super) fn for_documents(&self) -> EmbedOptions {
        self.first_of(&DOCUMENT)
    }

    fn first_of(&self, names: &[&str]) -> EmbedOptions {
        EmbedOptions {
            prompt_name: names
                .iter()
                .find(|name| self.0.contains_key(**name))
                .map(|name| name.to_string()),
            ..EmbedOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(names: &[&str]) -> Prompts {
        let entry = |name: &&str| (name.to_string(), format!("{name}: "));
        Prompts(names.iter().map(entry).collect())
    }

    #[test]
    fn queries_and_documents_have_prompts_by_their_usual_names() {
        let named = |options: EmbedOptions| options.prompt_name;
        let both = prompts(&["query", "passage", "corpus"]);
        assert_eq!(named(both.for_queries()).as_deref(), Some("query"));
        assert_eq!(named(both.for_documents()).as_deref(), Some("passage"));
        assert_eq!(named(prompts(&["clustering"]).for_queries()), None);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_others() {
        let error = |names: &[&str]| prompts(names).get("x").unwrap_err().to_string();
        assert!(error(&["b", "a"]).ends_with("expected one of a, b"));
        assert!(error(&[]).contains("no prompts"), "{}", error(&[]));
    }
}
