//! PEFT adapters: low-rank updates of the weights next to them.
//!
//! A folder that holds only an adapter is not a model. A file that holds a model with an unmerged
//! adapter has three tensors per weight, which are merged here:
//!
//! ```text
//! P.base_layer.weight  W (out, in);   P.lora_A.NAME.weight  A (r, in);   P.lora_B.NAME.weight  B (out, r)
//! P.weight = W + s·B·A,   s = α / r, or α / √r with `use_rslora`
//! ```
//!
//! `α` is not stored with the weights, so nothing is merged without `adapter_config.json`.
//!
//! Source: PEFT 0.14, `tuners/lora/layer.py` (`update_layer`, `get_delta_weight`),
//! `utils/other.py` (`ModulesToSaveWrapper`).

use std::collections::BTreeMap;
use std::path::Path;

use albert_formats::json::{self, to_usize, typed};
use albert_formats::small_file;
use serde_json::{Map, Value};

use crate::checkpoint::stored::{Adapted, StoredTensor};
use crate::error::{Error, Result, shown};

const FILE: &str = "adapter_config.json";

/// The parts that PEFT adds to names.
const BASE_LAYER: &str = ".base_layer.";
const ORIGINAL: &str = ".original_module.";
const TRAINED_COPY: &str = ".modules_to_save.";
/// The names of A and B in a linear layer and in an embedding, whose update is transposed.
const PAIRS: [(&str, &str, bool); 2] = [
    (".lora_A.", ".lora_B.", false),
    (".lora_embedding_A.", ".lora_embedding_B.", true),
];
/// Settings that change the update, and the values with which they do not.
const OTHER_UPDATES: [&str; 4] = [
    "use_dora",
    "fan_in_fan_out",
    "rank_pattern",
    "alpha_pattern",
];

/// The settings of an adapter.
#[derive(Debug)]
pub(super) struct Settings {
    map: Map<String, Value>,
    file: String,
}

impl Settings {
    /// Reads the settings in a folder, if any.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let Some(text) = small_file::read_if_present(&path)? else {
            return Ok(None);
        };
        let file = path.display().to_string();
        match json::parse(&text) {
            Ok(Value::Object(map)) => Ok(Some(Self { map, file })),
            Ok(other) => Err(Error::Field {
                file,
                field: "{}".into(),
                expected: "an object".into(),
                found: json::shown(&other),
            }),
            Err(source) => Err(Error::Json { file, source }),
        }
    }

    fn text(&self, key: &str) -> &str {
        self.map
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Returns the error for a folder that has an adapter but no model.
    pub(super) fn without_model(&self, dir: &Path) -> Error {
        let kind = match self.text("peft_type") {
            "" | "LORA" => "LoRA".to_string(),
            other => shown(other),
        };
        let base = match self.text("base_model_name_or_path") {
            "" => "a model that it does not name".to_string(),
            base => shown(base),
        };
        Error::Adapter {
            path: dir.into(),
            kind,
            base,
        }
    }

    /// Returns `s` for an update of rank `rank`, or the reason why it is unknown.
    fn scale(&self, rank: usize) -> Result<Result<f64, String>> {
        let wrong = |error: json::WrongValue| Error::Field {
            file: self.file.clone(),
            field: error.field,
            expected: error.expected,
            found: error.found,
        };
        if !matches!(self.text("peft_type"), "" | "LORA") {
            return Ok(Err(format!("`{FILE}` describes a method other than LoRA")));
        }
        let is_idle = |value: &Value| match value {
            Value::Bool(is_used) => !is_used,
            Value::Object(map) => map.is_empty(),
            Value::Null => true,
            _ => false,
        };
        if let Some(key) = OTHER_UPDATES
            .into_iter()
            .find(|key| self.map.get(*key).is_some_and(|value| !is_idle(value)))
        {
            return Ok(Err(format!("`{key}` in `{FILE}` is not supported")));
        }
        let stated = typed(&self.map, "r", "a whole number", to_usize).map_err(wrong)?;
        if stated.is_some_and(|stated| stated != rank) {
            return Ok(Err(format!(
                "`r` in `{FILE}` differs from the rank of its matrices, {rank}"
            )));
        }
        let alpha = typed(&self.map, "lora_alpha", "a number", Value::as_f64).map_err(wrong)?;
        let is_root = typed(&self.map, "use_rslora", "true or false", Value::as_bool)
            .map_err(wrong)?
            .unwrap_or(false);
        let Some(alpha) = alpha else {
            return Ok(Err(format!("`{FILE}` has no `lora_alpha`")));
        };
        let rank = rank as f64;
        Ok(Ok(alpha / if is_root { rank.sqrt() } else { rank }))
    }
}

/// Merges adapters into the tensors of a file, and reports the merge if there were any.
///
/// # Errors
/// If an adapter cannot be merged with these settings.
pub(super) fn merge(
    tensors: &mut BTreeMap<String, StoredTensor>,
    settings: impl FnOnce() -> Result<Option<Settings>>,
    file: &str,
) -> Result<Option<String>> {
    let is_adapters = |name: &str| {
        let parts = PAIRS.iter().flat_map(|(a, b, _)| [*a, *b]);
        parts
            .chain([BASE_LAYER, ORIGINAL])
            .any(|part| name.contains(part))
            || name.contains(TRAINED_COPY)
    };
    let Some(first) = tensors.keys().find(|name| is_adapters(name)).cloned() else {
        return Ok(None);
    };
    let settings = settings()?;
    let unmerged = |tensor: &str, why: String| Error::Unmerged {
        file: file.into(),
        tensor: shown(tensor),
        why,
    };
    let names: Vec<String> = tensors.keys().cloned().collect();
    let mut merged = 0;
    for name in &names {
        let Some((prefix, adapter, b_part, is_transposed)) = split(name) else {
            continue;
        };
        let Some(settings) = &settings else {
            return Err(unmerged(
                name,
                format!("expected `{FILE}` next to it, found none"),
            ));
        };
        let suffix = if is_transposed { "" } else { ".weight" };
        let b_name = format!("{prefix}{b_part}{adapter}{suffix}");
        let weight_name = [
            format!("{prefix}{BASE_LAYER}weight"),
            format!("{prefix}.weight"),
        ]
        .into_iter()
        .find(|weight| tensors.contains_key(weight));
        let (Some(weight_name), Some(a), Some(b)) =
            (weight_name, tensors.get(name), tensors.get(&b_name))
        else {
            let why = format!(
                "expected `{}` and `{}.weight` with it",
                shown(&b_name),
                shown(prefix)
            );
            return Err(unmerged(name, why));
        };
        let weight = &tensors[&weight_name];
        let (&[rank, inputs], &[outputs, b_rank], &[rows, columns]) =
            (&a.shape[..], &b.shape[..], &weight.shape[..])
        else {
            return Err(unmerged(name, "it is not the update of a matrix".into()));
        };
        let fits = if is_transposed {
            [columns, rows] == [outputs, inputs]
        } else {
            [rows, columns] == [outputs, inputs]
        };
        if !fits || rank != b_rank || rank == 0 {
            let shapes = format!("{:?}, {:?} and {:?}", weight.shape, a.shape, b.shape);
            return Err(unmerged(
                name,
                format!("the shapes of the weight, A and B do not match: {shapes}"),
            ));
        }
        for part in [weight, a, b] {
            if part.float_type().is_none() || part.is_expanded() {
                return Err(unmerged(name, "it is not stored in floating point".into()));
            }
        }
        let scale = settings.scale(rank)?.map_err(|why| unmerged(name, why))?;
        let adapted = Adapted {
            weight: weight.clone(),
            a: a.clone(),
            b: b.clone(),
            scale,
            is_transposed,
        };
        for part in [name, &b_name, &weight_name] {
            tensors.remove(part);
        }
        // A second adapter of the same weight finds the merged weight, and is refused below.
        let tensor = StoredTensor::adapted(adapted);
        if tensors.insert(format!("{prefix}.weight"), tensor).is_some() {
            return Err(unmerged(name, "its weight occurs twice".into()));
        }
        merged += 1;
    }
    take_off_wrappers(tensors).map_err(|name| {
        unmerged(
            &name,
            "it occurs twice, in two adapters or under two names".into(),
        )
    })?;
    if let Some(left) = tensors.keys().find(|name| is_adapters(name)) {
        return Err(unmerged(left, "it does not belong to any weight".into()));
    }
    Ok(Some(match merged {
        0 => format!(
            "names: PEFT's wrappers removed, such as that of `{}`",
            shown(&first)
        ),
        _ => format!("adapter: LoRA merged into {merged} weights, W + s·B·A with s from `{FILE}`"),
    }))
}

/// Splits the name of an A into the name of the layer, the name of the adapter, and the part for B.
fn split(name: &str) -> Option<(&str, &str, &'static str, bool)> {
    PAIRS.into_iter().find_map(|(a, b, is_transposed)| {
        let (prefix, rest) = name.split_once(a)?;
        let adapter = if is_transposed {
            rest
        } else {
            rest.strip_suffix(".weight")?
        };
        Some((prefix, adapter, b, is_transposed))
    })
}

/// Removes the parts that PEFT adds to names; of an original and its trained copy, the copy is
/// used.
fn take_off_wrappers(tensors: &mut BTreeMap<String, StoredTensor>) -> Result<(), String> {
    tensors.retain(|name, _| !name.contains(ORIGINAL));
    let names: Vec<String> = tensors.keys().cloned().collect();
    for name in names {
        let bare = if let Some((prefix, rest)) = name.split_once(TRAINED_COPY) {
            let (_, rest) = rest.split_once('.').unwrap_or(("", rest));
            format!("{prefix}.{rest}")
        } else if name.contains(BASE_LAYER) {
            name.replacen(BASE_LAYER, ".", 1)
        } else {
            continue;
        };
        if let Some(tensor) = tensors.remove(&name)
            && tensors.insert(bare, tensor).is_some()
        {
            return Err(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Arc;

    use safetensors::Dtype;
    use serde_json::json;

    use super::*;
    use crate::checkpoint::weight_file::WeightFile;

    fn settings(value: Value) -> Settings {
        let Value::Object(map) = value else {
            unreachable!()
        };
        Settings {
            map,
            file: FILE.into(),
        }
    }

    /// Returns tensors of these shapes, whose values are all 1.
    fn tensors(named: &[(&str, &[usize])]) -> BTreeMap<String, StoredTensor> {
        let ones = |shape: &[usize]| {
            let count: usize = shape.iter().product();
            let bytes = 1f32.to_le_bytes().repeat(count);
            let file = Arc::new(WeightFile::owned(Cow::Owned(bytes), "test"));
            StoredTensor::dense(&file, Dtype::F32, shape.to_vec(), 0..4 * count).unwrap()
        };
        let named = named.iter();
        named
            .map(|(name, shape)| (name.to_string(), ones(shape)))
            .collect()
    }

    const QUERY: [(&str, &[usize]); 4] = [
        ("q.base_layer.weight", &[3, 2]),
        ("q.base_layer.bias", &[3]),
        ("q.lora_A.default.weight", &[4, 2]),
        ("q.lora_B.default.weight", &[3, 4]),
    ];

    fn value(tensor: &StoredTensor) -> f32 {
        let values = tensor.load().unwrap().flatten_all().unwrap();
        values.to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn an_update_is_scaled_by_alpha_and_rank() {
        for (config, expected) in [
            (json!({"r": 4, "lora_alpha": 6}), 1. + 6.),
            (
                json!({"lora_alpha": 6, "rank_pattern": {}, "use_dora": false}),
                1. + 6.,
            ),
            (json!({"lora_alpha": 6, "use_rslora": true}), 1. + 12.),
        ] {
            let mut tensors = tensors(&QUERY);
            let choice = merge(&mut tensors, || Ok(Some(settings(config))), "x").unwrap();
            assert!(choice.unwrap().contains("merged into 1 weights"));
            assert_eq!(tensors.keys().collect::<Vec<_>>(), ["q.bias", "q.weight"]);
            assert_eq!(value(&tensors["q.weight"]), expected);
        }
    }

    #[test]
    fn an_embeddings_update_is_transposed() {
        let mut tensors = tensors(&[
            ("e.base_layer.weight", &[5, 2]),
            ("e.lora_embedding_A.default", &[1, 5]),
            ("e.lora_embedding_B.default", &[2, 1]),
        ]);
        merge(
            &mut tensors,
            || Ok(Some(settings(json!({"lora_alpha": 2})))),
            "x",
        )
        .unwrap();
        assert_eq!(value(&tensors["e.weight"]), 3.);
    }

    #[test]
    fn a_trained_copy_replaces_the_original() {
        let mut tensors = tensors(&[
            ("classifier.modules_to_save.default.weight", &[2, 2]),
            ("classifier.original_module.weight", &[3, 2]),
        ]);
        merge(&mut tensors, || Ok(None), "x").unwrap();
        assert_eq!(tensors["classifier.weight"].shape, [2, 2]);
        assert_eq!(tensors.len(), 1);
    }

    #[test]
    fn an_update_that_is_not_known_is_refused_with_the_reason() {
        let why = |named: &[(&str, &[usize])], config: Option<Value>| {
            merge(&mut tensors(named), || Ok(config.map(settings)), "x")
                .unwrap_err()
                .to_string()
        };
        let good = json!({"lora_alpha": 6});
        for (message, part) in [
            (
                why(&QUERY, None),
                "expected `adapter_config.json` next to it",
            ),
            (why(&QUERY, Some(json!({}))), "no `lora_alpha`"),
            (
                why(&QUERY, Some(json!({"lora_alpha": "x"}))),
                "expected a number",
            ),
            (
                why(&QUERY, Some(json!({"lora_alpha": 6, "r": 3}))),
                "differs from the rank of its matrices, 4",
            ),
            (
                why(&QUERY, Some(json!({"lora_alpha": 6, "use_dora": true}))),
                "`use_dora`",
            ),
            (
                why(
                    &QUERY,
                    Some(json!({"lora_alpha": 6, "rank_pattern": {"q": 2}})),
                ),
                "`rank_pattern`",
            ),
            (
                why(
                    &QUERY,
                    Some(json!({"lora_alpha": 6, "alpha_pattern": {"q": 2}})),
                ),
                "`alpha_pattern`",
            ),
            (
                why(
                    &QUERY,
                    Some(json!({"lora_alpha": 6, "fan_in_fan_out": true})),
                ),
                "`fan_in_fan_out`",
            ),
            (
                why(&QUERY, Some(json!({"peft_type": "IA3"}))),
                "a method other than LoRA",
            ),
            (
                why(&QUERY[1..], Some(good.clone())),
                "expected `q.lora_B.default.weight`",
            ),
            (
                why(&[("q.weight", &[3, 3]), QUERY[2], QUERY[3]], Some(good)),
                "do not match",
            ),
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_model_without_adapters_stays_as_it_is() {
        let mut tensors = tensors(&[("albert.pooler.weight", &[2, 2])]);
        assert_eq!(merge(&mut tensors, || Ok(None), "x").unwrap(), None);
        assert_eq!(tensors.len(), 1);
    }
}
