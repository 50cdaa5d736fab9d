//! The environment variables of text-embeddings-inference, as options of `serve`.
//!
//! With `--tei-env` each variable that is set replaces an option that is not given. `HOSTNAME`,
//! which every shell and container has, is not read; `PORT` listens on all addresses.

use std::env;
use std::ffi::OsString;

/// Variables with the option that each sets.
const VARIABLES: [(&str, &str); 12] = [
    ("MODEL_ID", "model"),
    ("REVISION", "revision"),
    ("DTYPE", "dtype"),
    ("POOLING", "pooling"),
    ("MAX_CONCURRENT_REQUESTS", "max-connections"),
    ("MAX_BATCH_TOKENS", "max-batch-tokens"),
    ("MAX_CLIENT_BATCH_SIZE", "max-client-batch-size"),
    ("PAYLOAD_LIMIT", "payload-limit"),
    ("AUTO_TRUNCATE", "auto-truncate"),
    ("DEFAULT_PROMPT", "default-prompt"),
    ("DEFAULT_PROMPT_NAME", "default-prompt-name"),
    ("SERVED_MODEL_NAME", "served-model-name"),
];

/// Adds the options that the variables set, if the arguments request it.
pub(crate) fn expand(arguments: Vec<OsString>) -> Vec<OsString> {
    let serves = arguments
        .iter()
        .skip(1)
        .take(2)
        .any(|argument| argument == "serve");
    if !serves || !arguments.iter().any(|argument| argument == "--tei-env") {
        return arguments;
    }
    let added = options(&arguments, |name| env::var(name).ok());
    arguments.into_iter().chain(added).collect()
}

fn options(arguments: &[OsString], read: impl Fn(&str) -> Option<String>) -> Vec<OsString> {
    let is_given = |option: &str| {
        arguments.iter().any(|argument| {
            let argument = argument.to_string_lossy();
            argument.split('=').next() == Some(option)
        })
    };
    let mut added = Vec::new();
    let mut add = |name: &str, value: String| {
        let option = format!("--{name}");
        if !is_given(&option) {
            added.push(format!("{option}={value}").into());
        }
    };
    for (variable, option) in VARIABLES {
        let Some(value) = read(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let value = match (variable, value.as_str()) {
            ("DTYPE", "float32") => "f32".to_string(),
            ("DTYPE", "float16") => "f16".to_string(),
            _ => value,
        };
        add(option, value);
    }
    if let Some(port) = read("PORT").filter(|port| !port.is_empty()) {
        add("listen", format!("0.0.0.0:{port}"));
    }
    if let Some(origin) = read("CORS_ALLOW_ORIGIN").filter(|origin| !origin.is_empty()) {
        origin
            .split(',')
            .for_each(|origin| add("cors-allow-origin", origin.trim().to_string()));
    }
    if read("JSON_OUTPUT").is_some_and(|value| value == "true") && !is_given("--json-output") {
        added.push("--json-output".into());
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let read = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        };
        let added = options(&arguments, read).into_iter();
        added.map(|it| it.into_string().unwrap()).collect()
    }

    #[test]
    fn a_variable_sets_an_option_that_is_not_given() {
        let environment = [
            ("MODEL_ID", "a/b"),
            ("DTYPE", "float16"),
            ("PORT", "80"),
            ("HOSTNAME", "pod-1"),
        ];
        assert_eq!(
            added(
                &["albert-cli", "serve", "--tei-env", "--model=c"],
                &environment
            ),
            ["--dtype=f16", "--listen=0.0.0.0:80"]
        );
    }
}
