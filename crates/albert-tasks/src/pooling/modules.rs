//! Pooling as a folder of sentence-transformers describes it.
//!
//! `modules.json` lists the stages, `1_Pooling/config.json` has the modes (as one flag each, or in
//! newer folders as `pooling_mode`, a name or a list), `config_sentence_transformers.json` the prompts.
//! A stage that is not computed here is refused: leaving it out would give other embeddings.

use serde_json::Value;

use super::{Pooling, PoolingMode, Width};
use crate::files::stays_inside;
use crate::json::{self, JsonObject};
use crate::{Error, ModelFiles, Result};

const MODULES: &str = "modules.json";

/// sentence-transformers' names of the modes, in the order in which flags are concatenated.
const MODES: [(&str, &str, PoolingMode); 6] = [
    ("cls", "pooling_mode_cls_token", PoolingMode::Cls),
    ("max", "pooling_mode_max_tokens", PoolingMode::Max),
    ("mean", "pooling_mode_mean_tokens", PoolingMode::Mean),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", PoolingMode::MeanSqrtLen),
    ("weightedmean", "pooling_mode_weightedmean_tokens", PoolingMode::WeightedMean),
    ("lasttoken", "pooling_mode_lasttoken", PoolingMode::Last),
];

impl Pooling {
    /// Reads how a model pools: from `modules.json`, else the mean, normalized.
    ///
    /// # Errors
    /// If a file has values of the wrong type, names a path outside the folder, or lists a module
    /// that is not computed here.
    pub fn from_files(files: &ModelFiles) -> Result<Self> {
        let Some(modules) = json::read_value(files, MODULES)? else {
            return Ok(Self {
                modes: vec![PoolingMode::Mean],
                normalize: true,
                include_prompt: true,
                prompt: default_prompt(files)?,
                from_modules: false,
                width: None,
                why: "no modules.json: mean pooling and normalization by default".to_string(),
            });
        };
        let Value::Array(modules) = modules else {
            return Err(json::wrong_type(MODULES, "(top level)", "a list of modules", &modules));
        };
        let mut pooling: Option<Self> = None;
        for (position, module) in modules.into_iter().enumerate() {
            let module = JsonObject::from_value(MODULES, &format!("[{position}]"), module)?;
            let name = module.str("type")?.unwrap_or_default().to_string();
            let path = module.str("path")?.unwrap_or_default().to_string();
            if !stays_inside(&path) {
                return Err(Error::OutsideFolder { file: MODULES.to_string(), path });
            }
            let refuse = |why: String| Err(Error::UnsupportedModule { module: name.clone(), why });
            // The type is a Python path; where the class lives has changed with the versions.
            match (name.rsplit('.').next().unwrap_or_default(), &mut pooling) {
                ("Transformer", None) if position == 0 => {
                    if !path.is_empty() && path != "." {
                        return refuse(format!("it lies in `{path}`, expected the top of the folder"));
                    }
                }
                ("Pooling", None) if position == 1 => pooling = Some(read_pooling(files, &path)?),
                ("Normalize", Some(pooling)) => {
                    let config = JsonObject::read(files, &config_file(&path))?;
                    for key in ["module_input_name", "module_output_name"] {
                        let of = config.as_ref().map(|config| config.str(key)).transpose()?.flatten();
                        if of.is_some_and(|of| of != "sentence_embedding") {
                            return refuse(format!("its `{key}` is not `sentence_embedding`"));
                        }
                    }
                    pooling.normalize = true;
                    pooling.why.push_str(", normalized by its Normalize module");
                }
                ("Transformer" | "Pooling" | "Normalize", _) => {
                    return refuse(
                        "expected Transformer, Pooling and perhaps Normalize, in this order".to_string(),
                    );
                }
                ("Dense", _) => {
                    return refuse("dense layers after the pooling are not computed yet".to_string());
                }
                _ => return refuse("only Transformer, Pooling and Normalize are computed".to_string()),
            }
        }
        match pooling {
            Some(mut pooling) => {
                pooling.prompt = default_prompt(files)?;
                Ok(pooling)
            }
            None => Err(Error::Field {
                file: MODULES.to_string(),
                field: "type".to_string(),
                expected: "a module `Pooling`".to_string(),
                found: "none".to_string(),
            }),
        }
    }

    /// Refuses a pooling that was made for token vectors of another width.
    pub(crate) fn check_width(&self, hidden_size: usize) -> Result<()> {
        match &self.width {
            Some(width) if width.value != hidden_size => Err(Error::Field {
                file: width.file.clone(),
                field: width.key.to_string(),
                expected: format!("{hidden_size}, the `hidden_size` of `config.json`"),
                found: width.value.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// The configuration of a module in the folder `path`.
fn config_file(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "config.json".to_string(),
        path => format!("{path}/config.json"),
    }
}

fn read_pooling(files: &ModelFiles, path: &str) -> Result<Pooling> {
    let file = config_file(path);
    let Some(config) = JsonObject::read(files, &file)? else {
        return Err(Error::Field {
            file: MODULES.to_string(),
            field: "path".to_string(),
            expected: format!("a folder with the pooling's `config.json`, as `{file}`"),
            found: "no such file".to_string(),
        });
    };
    let modes = match config.get("pooling_mode") {
        None => flagged_modes(&config)?,
        Some(Value::Array(names)) if !names.is_empty() => {
            names.iter().map(|name| named_mode(&config, name)).collect::<Result<_>>()?
        }
        Some(name) => vec![named_mode(&config, name)?],
    };
    let mut width = None;
    // The first is the newer name.
    for key in ["embedding_dimension", "word_embedding_dimension"] {
        if let (None, Some(value)) = (&width, config.usize(key)?) {
            width = Some(Width { file: file.clone(), key, value });
        }
    }
    let names: Vec<String> = modes.iter().map(ToString::to_string).collect();
    Ok(Pooling {
        why: format!("{} by {file}", names.join(" + ")),
        modes,
        normalize: false,
        include_prompt: config.bool("include_prompt")?.unwrap_or(true),
        prompt: None,
        from_modules: true,
        width,
    })
}

/// The older form: one flag a mode. No flag set means the mean.
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
    match MODES.iter().find(|(known, _, _)| name.as_str() == Some(known)) {
        Some((_, _, mode)) => Ok(*mode),
        None => {
            let known = MODES.map(|(known, _, _)| known).join(", ");
            Err(config.unexpected("pooling_mode", &format!("one of {known}, or a list of them"), name))
        }
    }
}

/// The text of the prompt that `default_prompt_name` names.
fn default_prompt(files: &ModelFiles) -> Result<Option<String>> {
    let file = "config_sentence_transformers.json";
    let Some(config) = JsonObject::read(files, file)? else { return Ok(None) };
    let Some(name) = config.str("default_prompt_name")? else { return Ok(None) };
    let prompts = match config.get("prompts") {
        Some(prompts) => JsonObject::from_value(file, "prompts", prompts.clone())?,
        None => return Err(config.unexpected("default_prompt_name", "one of `prompts`", &name.into())),
    };
    match prompts.str(name)? {
        Some(prompt) => Ok(Some(prompt.to_string())),
        None => Err(config.unexpected("default_prompt_name", "one of `prompts`", &name.into())),
    }
}
