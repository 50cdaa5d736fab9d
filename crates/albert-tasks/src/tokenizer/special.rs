//! Reads special and added tokens from `tokenizer_config.json`, `special_tokens_map.json`,
//! `added_tokens.json` and `tokenizer.json`.
//!
//! Their precedence is that of transformers 4.46.3 (`tokenization_utils_base.py`,
//! `_from_pretrained`): `added_tokens_decoder` of `tokenizer_config.json` if present; else
//! `special_tokens_map.json` before `tokenizer_config.json`, with `added_tokens.json` and the
//! `added_tokens` of `tokenizer.json`. `extra_special_tokens` is transformers 5's name for
//! `additional_special_tokens`. Ids come from these files and the vocabulary, never from
//! `config.json`.

use serde_json::Value;

use crate::json::{self, JsonObject};
use crate::{Error, ModelFiles, Result};

const CONFIG: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";

/// A token that is matched in the text before tokenization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The text.
    pub(super) content: String,
    /// True if white space before it belongs to it.
    pub(super) lstrip: bool,
    /// True if white space after it belongs to it.
    pub(super) rstrip: bool,
    /// True if it only matches whole words.
    pub(super) single_word: bool,
    /// True if it matches in normalized text.
    pub(super) normalized: bool,
    /// True for a special token.
    pub(super) special: bool,
}

impl Token {
    fn special(content: &str) -> Self {
        Self {
            content: content.to_string(),
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
            special: true,
        }
    }
}

/// The special tokens of a model and the other tokens added to its vocabulary.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    /// The special tokens by role, such as `mask_token`, in transformers' order.
    roles: Vec<(&'static str, Token)>,
    additional: Vec<Token>,
    /// The tokens with ids in the files.
    added: Vec<(u32, Token)>,
    /// The texts of the tokens that `tokenizer.json` adds.
    fast: Vec<String>,
}

impl SpecialTokens {
    /// Reads a model's files; `defaults` are the tokens of roles that no file names.
    ///
    /// # Errors
    /// If a file is invalid.
    pub(super) fn read(files: &ModelFiles, defaults: &[(&'static str, Token)]) -> Result<Self> {
        let config = JsonObject::read(files, CONFIG)?;
        let mut added = Vec::new();
        let mut sources: Vec<&JsonObject> = config.iter().collect();
        let map;
        match config
            .as_ref()
            .and_then(|config| Some((config, config.get("added_tokens_decoder")?)))
        {
            Some((config, Value::Object(decoder))) => {
                for (id, token) in decoder {
                    let expected = "token ids, each with an object that has `content`";
                    let bad = || config.unexpected("added_tokens_decoder", expected, token);
                    added.push((
                        id.parse().map_err(|_| bad())?,
                        token_of(token).ok_or_else(bad)?,
                    ));
                }
            }
            Some((config, other)) => {
                return Err(config.unexpected("added_tokens_decoder", "an object", other));
            }
            None => {
                map = JsonObject::read(files, MAP)?;
                sources.splice(0..0, &map);
            }
        }
        let mut this = Self {
            roles: Vec::new(),
            additional: Vec::new(),
            added,
            fast: Vec::new(),
        };
        let mut stated = Vec::new();
        for (role, default) in defaults {
            let named = sources
                .iter()
                .find_map(|source| Some((source, source.get(role)?)));
            let token = match named {
                None => default.clone(),
                Some((source, value)) => {
                    stated.push(*role);
                    special_of(value, default).ok_or_else(|| {
                        source.unexpected(role, "a string, or an object with `content`", value)
                    })?
                }
            };
            this.roles.push((role, token));
        }
        for (source, key) in sources.iter().flat_map(|source| {
            ["additional_special_tokens", "extra_special_tokens"].map(|key| (source, key))
        }) {
            let Some(listed) = source.get(key) else {
                continue;
            };
            let bad = || source.unexpected(key, "a list of tokens", listed);
            let values: Vec<&Value> = match listed {
                Value::Array(list) => list.iter().collect(),
                // By names that only a processor of images or sounds asks for.
                Value::Object(map) if key == "extra_special_tokens" => map.values().collect(),
                _ => return Err(bad()),
            };
            for value in values {
                let token = special_of(value, &Token::special("")).ok_or_else(bad)?;
                if !this.additional.contains(&token) {
                    this.additional.push(token);
                }
            }
        }
        if config
            .as_ref()
            .is_none_or(|config| config.get("added_tokens_decoder").is_none())
        {
            this.read_added_tokens(files)?;
        }
        // The description of a token by id also applies to its role. A default that strips spaces,
        // like that of the mask, is kept.
        let roles = this
            .roles
            .iter_mut()
            .filter(|(role, token)| stated.contains(role) || !token.lstrip);
        let additional = this
            .additional
            .iter_mut()
            .filter(|token| **token == Token::special(&token.content));
        for token in roles.map(|(_, token)| token).chain(additional) {
            if let Some((_, known)) = this
                .added
                .iter()
                .find(|(_, known)| known.content == token.content)
            {
                *token = known.clone();
            }
        }
        Ok(this)
    }

    /// Returns the special tokens of a transformers class without any files.
    pub(super) fn of_class(defaults: &[(&'static str, Token)]) -> Self {
        Self {
            roles: defaults.to_vec(),
            additional: Vec::new(),
            added: Vec::new(),
            fast: Vec::new(),
        }
    }

    /// Reads `added_tokens.json`, which models without an `added_tokens_decoder` have.
    fn read_added_tokens(&mut self, files: &ModelFiles) -> Result<()> {
        if let Some(value) = json::read_value(files, ADDED)? {
            let bad = || json::wrong_type(ADDED, "(top level)", "an object of ids", &value);
            for (content, id) in value.as_object().ok_or_else(bad)? {
                let id = id
                    .as_u64()
                    .and_then(|id| u32::try_from(id).ok())
                    .ok_or_else(bad)?;
                let special = self.special().any(|token| token.content == *content);
                let token = Token {
                    normalized: !special,
                    special,
                    ..Token::special(content)
                };
                self.added.push((id, token));
            }
        }
        if let Some(list) = json::read_key(files, "tokenizer.json", "added_tokens")? {
            let bad = || {
                json::wrong_type(
                    "tokenizer.json",
                    "added_tokens",
                    "a list of tokens with ids",
                    &list,
                )
            };
            for token in list.as_array().ok_or_else(bad)? {
                let id = token
                    .get("id")
                    .and_then(Value::as_u64)
                    .and_then(|id| u32::try_from(id).ok());
                let token = token_of(token).ok_or_else(bad)?;
                self.fast.push(token.content.clone());
                self.added.push((id.ok_or_else(bad)?, token));
            }
        }
        Ok(())
    }

    /// Returns true for a token that `tokenizer.json` adds, which is matched by the rules of the
    /// tokenizers crate.
    pub(super) fn is_fast(&self, token: &Token) -> bool {
        self.fast.contains(&token.content)
    }

    /// Returns the token of a role.
    pub(super) fn role(&self, role: &str) -> Option<&str> {
        self.roles
            .iter()
            .find(|(name, _)| *name == role)
            .map(|(_, token)| token.content.as_str())
    }

    /// Returns all special tokens, in the order in which transformers matches them.
    pub(super) fn special(&self) -> impl Iterator<Item = &Token> {
        self.roles
            .iter()
            .map(|(_, token)| token)
            .chain(&self.additional)
    }

    /// Returns every token to match with its id, from the files or the vocabulary.
    ///
    /// A role's token without an id is omitted, so that it is ordinary text.
    ///
    /// # Errors
    /// If one of `additional_special_tokens` has no id.
    pub(super) fn with_ids(
        &self,
        vocabulary: impl Fn(&str) -> Option<u32>,
    ) -> Result<Vec<(u32, Token)>> {
        let mut tokens: Vec<(u32, Token)> = Vec::new();
        let known = |tokens: &[(u32, Token)], content: &str| {
            tokens
                .iter()
                .find(|(_, token)| token.content == content)
                .map(|(id, _)| *id)
        };
        let mut put = |id: u32, token: &Token| {
            tokens.retain(|(other, known)| *other != id && known.content != token.content);
            tokens.push((id, token.clone()));
        };
        for (id, token) in self
            .added
            .iter()
            .filter(|(_, token)| !token.content.is_empty())
        {
            put(*id, token);
        }
        for token in self.special().filter(|token| !token.content.is_empty()) {
            match known(&self.added, &token.content).or_else(|| vocabulary(&token.content)) {
                Some(id) => put(id, token),
                None if self.additional.contains(token) => {
                    return Err(Error::UnknownSpecialToken(token.content.clone()));
                }
                None => {}
            }
        }
        Ok(tokens)
    }
}

/// Returns the default tokens of a transformers class.
pub(super) fn defaults(names: &[(&'static str, &str)]) -> Vec<(&'static str, Token)> {
    names
        .iter()
        .map(|(role, content)| (*role, Token::special(content)))
        .collect()
}

/// Returns a special token: a string, which leaves all else as in `default`, or an object with
/// `content`.
fn special_of(value: &Value, default: &Token) -> Option<Token> {
    match value {
        Value::String(content) => Some(Token {
            content: content.clone(),
            ..default.clone()
        }),
        _ => token_of(value).map(|token| Token {
            special: true,
            ..token
        }),
    }
}

/// Returns an `AddedToken` as its object has it, with the tokenizers crate's defaults.
fn token_of(value: &Value) -> Option<Token> {
    let content = value.get("content")?.as_str()?.to_string();
    let flag = |name: &str, default: bool| match value.get(name) {
        None => Some(default),
        Some(value) => value.as_bool(),
    };
    let special = flag("special", false)?;
    Some(Token {
        content,
        lstrip: flag("lstrip", false)?,
        rstrip: flag("rstrip", false)?,
        single_word: flag("single_word", false)?,
        normalized: flag("normalized", !special)?,
        special,
    })
}
