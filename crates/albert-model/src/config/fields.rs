//! Reads the keys of a `config.json` one by one, so that an error names the key, and the expected
//! and the found value.

use std::collections::BTreeMap;

use albert_formats::json::{shown, to_usize};
use serde_json::{Map, Value};

use crate::activation::HiddenAct;
use crate::config::model_type::{self, ModelType};
use crate::config::{PROBLEM_TYPES, ProblemType};
use crate::error::{Error, Result};

/// The keys of one `config.json` that have not been read yet.
pub(super) struct Fields<'a> {
    pub(super) file: &'a str,
    pub(super) map: Map<String, Value>,
}

impl Fields<'_> {
    pub(super) fn error(
        file: &str,
        field: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Field {
            file: file.into(),
            field: field.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    fn wrong(&self, field: &str, expected: impl Into<String>, found: &Value) -> Error {
        Self::error(self.file, field, expected, shown(found))
    }

    /// Takes a field; an explicit `null` counts as absent.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.map
            .shift_remove(field)
            .filter(|value| !value.is_null())
    }

    pub(super) fn size(&mut self, field: &str, default: usize) -> Result<usize> {
        // Here null does not mean the default: transformers fails on it.
        let Some(value) = self.map.shift_remove(field) else {
            return Ok(default);
        };
        to_usize(&value).ok_or_else(|| self.wrong(field, "a whole number above 0", &value))
    }

    pub(super) fn token(&mut self, field: &str, default: Option<u32>) -> Result<Option<u32>> {
        match self.map.shift_remove(field) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
                Some(id) => Ok(Some(id)),
                // -1 means none in some configurations.
                None if value.as_i64() == Some(-1) => Ok(None),
                None => Err(self.wrong(field, "a token id or null", &value)),
            },
        }
    }

    pub(super) fn number(&mut self, field: &str) -> Result<Option<f64>> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        value
            .as_f64()
            .map(Some)
            .ok_or_else(|| self.wrong(field, "a number", &value))
    }

    pub(super) fn boolean(&mut self, field: &str, default: bool) -> Result<bool> {
        let Some(value) = self.take(field) else {
            return Ok(default);
        };
        value
            .as_bool()
            .ok_or_else(|| self.wrong(field, "true or false", &value))
    }

    fn string(&mut self, field: &str) -> Result<Option<String>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.wrong(field, "a string", &value)),
        }
    }

    pub(super) fn strings(&mut self, field: &str) -> Result<Vec<String>> {
        let Some(value) = self.take(field) else {
            return Ok(Vec::new());
        };
        let strings = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(String::from))
                .collect::<Option<Vec<_>>>()
        });
        strings.ok_or_else(|| self.wrong(field, "an array of strings", &value))
    }

    pub(super) fn activation(&mut self, field: &str, default: HiddenAct) -> Result<HiddenAct> {
        let Some(name) = self.string(field)? else {
            return Ok(default);
        };
        name.parse().map_err(|_| {
            let unknown = HiddenAct::expected(&name);
            Self::error(self.file, field, unknown, format!("{name:?}"))
        })
    }

    pub(super) fn problem_type(&mut self) -> Result<Option<ProblemType>> {
        let Some(name) = self.string("problem_type")? else {
            return Ok(None);
        };
        match PROBLEM_TYPES.iter().find(|(known, _)| *known == name) {
            Some((_, problem_type)) => Ok(Some(*problem_type)),
            None => {
                let known = PROBLEM_TYPES.map(|(name, _)| name).join(", ");
                Err(Self::error(
                    self.file,
                    "problem_type",
                    format!("one of {known}"),
                    format!("{name:?}"),
                ))
            }
        }
    }

    /// Returns `id2label`, or else `num_labels` unnamed labels.
    pub(super) fn labels(&mut self) -> Result<BTreeMap<usize, String>> {
        // The inverse map adds nothing to `id2label`.
        self.map.shift_remove("label2id");
        // Configurations of 2019 spell it with an underscore.
        let num_labels = [self.take("num_labels"), self.take("_num_labels")]
            .into_iter()
            .flatten()
            .next();
        // A count next to the names stays where other readers expect it.
        if let (Some(count), true) = (&num_labels, self.map.contains_key("id2label")) {
            self.map.insert("num_labels".into(), count.clone());
        }
        let expected = "an object from class indices to names";
        match self.take("id2label") {
            Some(Value::Object(map)) => map
                .iter()
                .map(|(id, label)| match (id.parse(), label) {
                    (Ok(id), Value::String(label)) => Ok((id, label.clone())),
                    // Some fine-tuning scripts save the classes as numbers.
                    (Ok(id), label) => Ok((id, label.to_string())),
                    (Err(_), _) => Err(Self::error(
                        self.file,
                        "id2label",
                        expected,
                        format!("the key {id:?}"),
                    )),
                })
                .collect(),
            Some(value) => Err(self.wrong("id2label", expected, &value)),
            None => {
                let Some(value) = num_labels else {
                    return Ok(BTreeMap::new());
                };
                let count = value.as_u64().filter(|n| (1..=1_000_000).contains(n));
                let count = count
                    .ok_or_else(|| self.wrong("num_labels", "a whole number above 0", &value))?;
                Ok((0..count as usize)
                    .map(|id| (id, format!("LABEL_{id}")))
                    .collect())
            }
        }
    }

    /// Reads `model_type`, or infers it from `architectures` if the file lacks it, as files of 2019
    /// do.
    pub(super) fn model_type(&mut self) -> Result<ModelType> {
        // Removed here and written again, because it is not one of the other keys.
        match self.map.shift_remove("model_type") {
            None | Some(Value::Null) => {
                let architectures = self.map.get("architectures").and_then(Value::as_array);
                let class = architectures.and_then(|them| them.first()?.as_str());
                if let Some(why) = class.and_then(ModelType::other_by_class) {
                    let expected =
                        format!("classes of ALBERT or BERT ({why}, which is not supported)");
                    return Err(Self::error(
                        self.file,
                        "architectures",
                        expected,
                        format!("{:?}", class.unwrap_or_default()),
                    ));
                }
                let is_class = |it: &ModelType| {
                    class.is_some_and(|class| class.starts_with(it.class_prefix()))
                };
                Ok(ModelType::ALL
                    .into_iter()
                    .find(is_class)
                    .unwrap_or_default())
            }
            Some(Value::String(found)) => ModelType::ALL
                .into_iter()
                .find(|it| it.name() == found)
                .ok_or_else(|| {
                    let expected = model_type::expected(&found);
                    self.wrong("model_type", expected, &Value::String(found))
                }),
            Some(found) => Err(self.wrong("model_type", model_type::expected(""), &found)),
        }
    }

    /// Refuses networks that this crate does not compute.
    pub(super) fn refuse_other_networks(&mut self) -> Result<()> {
        let expectations: [(&str, &[&str], &str); 2] = [
            (
                "position_embedding_type",
                &["absolute"],
                "\"absolute\": relative positions, which transformers 5 dropped, are not supported",
            ),
            (
                "ln_type",
                &["postln"],
                "\"postln\": a network that normalizes before its sub-layers is not ALBERT as published",
            ),
        ];
        for (field, accepted, expected) in expectations {
            match self.map.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::String(found)) if accepted.contains(&found.as_str()) => {}
                Some(found) => return Err(self.wrong(field, expected, found)),
            }
        }
        for field in ["is_decoder", "add_cross_attention"] {
            if let Some(found) = self
                .map
                .get(field)
                .filter(|found| **found == Value::Bool(true))
            {
                let expected = "false: decoders and cross-attention are not supported";
                return Err(self.wrong(field, expected, found));
            }
        }
        match self.map.get("pruned_heads") {
            Some(Value::Object(map)) if !map.is_empty() => Err(Self::error(
                self.file,
                "pruned_heads",
                "no pruned heads, which are not supported",
                format!("{} layers with pruned heads", map.len()),
            )),
            _ => Ok(()),
        }
    }
}
