//! Reads the pooling of a sentence-transformers folder.
//!
//! `modules.json` lists the modules, `1_Pooling/config.json` has the modes (as one flag each, or in
//! newer folders as `pooling_mode`, a name or a list), `config_sentence_transformers.json` the
//! prompts and a width to cut to. An unsupported module is refused, because omitting it would give
//! other embeddings.

use serde_json::Value;

use super::stage::{config_file, required_config};
use super::{Pooling, PoolingMode, Stage, Width};
pub(super) use crate::files::MODULES;
use crate::files::{SENTENCE_SETTINGS as SETTINGS, stays_inside};
use crate::json::{self, JsonObject};
use crate::{Error, ModelFiles, Result};

/// sentence-transformers' names of the modes, in the order in which flags are concatenated.
const MODES: [(&str, &str, PoolingMode); 6] = [
    ("cls", "pooling_mode_cls_token", PoolingMode::Cls),
    ("max", "pooling_mode_max_tokens", PoolingMode::Max),
    ("mean", "pooling_mode_mean_tokens", PoolingMode::Mean),
    (
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        PoolingMode::MeanSqrtLen,
    ),
    (
        "weightedmean",
        "pooling_mode_weightedmean_tokens",
        PoolingMode::WeightedMean,
    ),
    ("lasttoken", "pooling_mode_lasttoken", PoolingMode::Last),
];

impl Pooling {
    /// Reads the pooling of a model: from `modules.json`, else the normalized mean.
    ///
    /// # Errors
    /// If a file has values of the wrong type, names a path outside the folder, or lists an
    /// unsupported module or activation.
    pub fn from_files(files: &ModelFiles) -> Result<Self> {
        let mut pooling = match json::read_value(files, MODULES)? {
            None => Self {
                modes: vec![PoolingMode::Mean],
                stages: Vec::new(),
                normalize: true,
                include_prompt: true,
                prompt: None,
                truncate_dim: None,
                from_modules: false,
                width: None,
                why: "no modules.json: mean pooling and normalization by default".to_string(),
            },
            Some(Value::Array(modules)) => read_modules(files, modules)?,
            Some(other) => {
                return Err(json::wrong_type(
                    MODULES,
                    "(top level)",
                    "a list of modules",
                    &other,
                ));
            }
        };
        if let Some(settings) = JsonObject::read(files, SETTINGS)? {
            pooling.prompt = default_prompt(&settings)?;
            pooling.truncate_dim = settings.usize("truncate_dim")?;
            if pooling.truncate_dim == Some(0) {
                return Err(settings.unexpected(
                    "truncate_dim",
                    "a width of at least 1",
                    &0.into(),
                ));
            }
        }
        Ok(pooling)
    }
}

fn read_modules(files: &ModelFiles, modules: Vec<Value>) -> Result<Pooling> {
    let mut pooling: Option<Pooling> = None;
    for (position, module) in modules.into_iter().enumerate() {
        let module = JsonObject::from_value(MODULES, &format!("[{position}]"), module)?;
        let name = module.str("type")?.unwrap_or_default().to_string();
        let path = module.str("path")?.unwrap_or_default().to_string();
        if !stays_inside(&path) {
            return Err(Error::OutsideFolder {
                file: MODULES.to_string(),
                path,
            });
        }
        let refuse = |why: String| {
            Err(Error::UnsupportedModule {
                module: name.clone(),
                why,
            })
        };
        // The type is a Python path, and the module of the class differs between versions.
        let class = match name.strip_prefix("sentence_transformers.") {
            Some(rest) => rest.rsplit('.').next().unwrap_or_default(),
            None => {
                return refuse("it is the model's own code, which is never run".to_string());
            }
        };
        match (class, &mut pooling) {
            ("Transformer", None) if position == 0 => {
                let is_top = path.is_empty() || path == ".";
                if !is_top && !files.has_network_below() {
                    return refuse(format!("it has no folder `{path}`"));
                }
            }
            ("Pooling", None) if position == 1 => pooling = Some(read_pooling(files, &path)?),
            ("Dense", Some(pooling)) => pooling.stages.push(Stage::dense(files, &path)?),
            ("LayerNorm", Some(pooling)) => pooling.stages.push(Stage::layer_norm(files, &path)?),
            ("Normalize", Some(pooling)) => pooling.stages.push(Stage::normalize(files, &path)?),
            // No effect outside training.
            ("Dropout", Some(_)) => {}
            ("Transformer" | "Pooling" | "Dense" | "LayerNorm" | "Normalize" | "Dropout", _) => {
                return refuse(
                    "expected Transformer, then Pooling, then any of Dense, LayerNorm, Dropout and Normalize"
                        .to_string(),
                );
            }
            _ => {
                return refuse(
                    "only Transformer, Pooling, Dense, LayerNorm, Dropout and Normalize are computed"
                        .to_string(),
                );
            }
        }
    }
    let Some(mut pooling) = pooling else {
        return Err(Error::Field {
            file: MODULES.to_string(),
            field: "type".to_string(),
            expected: "a module `Pooling`".to_string(),
            found: "none".to_string(),
        });
    };
    // The caller may override the last one.
    pooling.normalize = pooling
        .stages
        .pop_if(|stage| *stage == Stage::Normalize)
        .is_some();
    if pooling.normalize {
        pooling.why.push_str(", normalized by its Normalize module");
    }
    Ok(pooling)
}

fn read_pooling(files: &ModelFiles, path: &str) -> Result<Pooling> {
    let config = required_config(files, path)?;
    let file = config_file(path);
    let modes = match config.get("pooling_mode") {
        None => flagged_modes(&config)?,
        Some(Value::Array(names)) if !names.is_empty() => names
            .iter()
            .map(|name| named_mode(&config, name))
            .collect::<Result<_>>()?,
        Some(name) => vec![named_mode(&config, name)?],
    };
    let mut width = None;
    // The first is the newer name.
    for key in ["embedding_dimension", "word_embedding_dimension"] {
        if let (None, Some(value)) = (&width, config.usize(key)?) {
            width = Some(Width {
                file: file.clone(),
                key,
                value,
            });
        }
    }
    let names: Vec<String> = modes.iter().map(ToString::to_string).collect();
    Ok(Pooling {
        why: format!("{} by {file}", names.join(" + ")),
        modes,
        stages: Vec::new(),
        normalize: false,
        include_prompt: config.bool("include_prompt")?.unwrap_or(true),
        prompt: None,
        truncate_dim: None,
        from_modules: true,
        width,
    })
}

/// Reads the older format with one flag per mode. No flag means the mean.
fn flagged_modes(config: &JsonObject) -> Result<Vec<PoolingMode>> {
    let mut modes = Vec::new();
    for (_, flag, mode) in MODES {
        if config.bool(flag)?.unwrap_or(false) {
            modes.push(mode);
        }
    }
    if modes.is_empty() {
        modes.push(PoolingMode::Mean);
    }
    Ok(modes)
}

fn named_mode(config: &JsonObject, name: &Value) -> Result<PoolingMode> {
    match MODES
        .iter()
        .find(|(known, _, _)| name.as_str() == Some(known))
    {
        Some((_, _, mode)) => Ok(*mode),
        None => {
            let known = MODES.map(|(known, _, _)| known).join(", ");
            Err(config.unexpected(
                "pooling_mode",
                &format!("one of {known}, or a list of them"),
                name,
            ))
        }
    }
}

/// Returns the text of the prompt that `default_prompt_name` names.
fn default_prompt(settings: &JsonObject) -> Result<Option<String>> {
    let Some(name) = settings.str("default_prompt_name")? else {
        return Ok(None);
    };
    let unknown = || settings.unexpected("default_prompt_name", "one of `prompts`", &name.into());
    let prompts = settings.get("prompts").ok_or_else(unknown)?;
    let prompts = JsonObject::from_value(SETTINGS, "prompts", prompts.clone())?;
    prompts
        .str(name)?
        .map(|prompt| Some(prompt.to_string()))
        .ok_or_else(unknown)
}
