//! Recipes: the options of a training command in a TOML file.
//!
//! A recipe sets options by their long names. It is turned into arguments before the command line
//! is parsed, so that a value from a file is checked like one that was typed. `--resume` reads the
//! recipe in the output folder of the run, and refuses options that would change the run.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context;
use toml::{Table, Value};

use crate::failure::{Hint, usage};

/// The commands that have recipes.
const COMMANDS: [&str; 5] = ["pretrain", "finetune", "fine-tune", "distill", "compress"];

/// The path of a run's recipe in its output folder.
const RECORDED: &str = "training/recipe.toml";

/// Options of how a run is started, which do not affect the result.
const OF_THE_START: [&str; 3] = ["output", "recipe", "resume"];

/// Options that a run may change when it is resumed.
const FREE: [&str; 7] = [
    "device",
    "threads",
    "log-every",
    "save-every",
    "tensorboard",
    "quiet",
    "offline",
];

/// Pairs of options that exclude each other.
const ALTERNATIVES: [&[&str]; 2] = [&["steps", "epochs", "time"], &["preset", "config"]];

/// Adds the options of a recipe, if the arguments name one, to the given arguments.
pub(crate) fn expand(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let is_training = |argument: &OsString| COMMANDS.iter().any(|command| argument == command);
    if !arguments.iter().skip(1).take(2).any(is_training) {
        return Ok(arguments);
    }
    let given = Given(&arguments);
    let mut added = Vec::new();
    if let Some(path) = given.value("recipe") {
        let table = read(Path::new(&path))?;
        add(&table, &given, Path::new(&path), &mut added)?;
    }
    if let (true, Some(output)) = (given.has("resume"), given.value("output")) {
        let path = PathBuf::from(&output).join(RECORDED);
        // Without a recipe there is no run to resume, which the command reports.
        if path.is_file() {
            let table = read(&path)?;
            refuse_changes(&table, &given)?;
            add(&table, &given, &path, &mut added)?;
        }
    }
    Ok(arguments.into_iter().chain(added).collect())
}

fn read(path: &Path) -> anyhow::Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the recipe `{}`", path.display()))?;
    let parsed: Result<Table, _> = text.parse();
    parsed.map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].lines().count().max(1));
        usage(format!(
            "recipe `{}`, line {line}: {}",
            path.display(),
            error.message()
        ))
    })
}

/// Adds the options of a table as arguments, unless they were given.
fn add(
    table: &Table,
    given: &Given<'_>,
    path: &Path,
    added: &mut Vec<OsString>,
) -> anyhow::Result<()> {
    let is_replaced = |name: &str| {
        let others = ALTERNATIVES.iter().find(|options| options.contains(&name));
        others.is_some_and(|options| options.iter().any(|option| given.has(option)))
    };
    for (name, value) in table {
        if given.has(name) || is_replaced(name) {
            continue;
        }
        for text in texts(value).ok_or_else(|| {
            usage(format!(
                "recipe `{}`: `{name}`: expected a string, a number, true, false or a list of them",
                path.display()
            ))
        })? {
            match text.as_str() {
                "true" if is_flag(name) => added.push(format!("--{name}").into()),
                "false" if is_flag(name) => {}
                text => added.push(format!("--{name}={text}").into()),
            }
        }
    }
    Ok(())
}

/// Returns the values of an option as they would be typed.
fn texts(value: &Value) -> Option<Vec<String>> {
    Some(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::Boolean(is_set) => vec![is_set.to_string()],
        Value::Array(values) => {
            let nested: Option<Vec<_>> = values.iter().map(texts).collect();
            nested?.into_iter().flatten().collect()
        }
        Value::Datetime(_) | Value::Table(_) => return None,
    })
}

/// Returns true for an option without a value.
fn is_flag(name: &str) -> bool {
    matches!(name, "keep-last" | "quiet" | "offline")
}

/// Refuses an option that differs from the recorded run.
fn refuse_changes(recorded: &Table, given: &Given<'_>) -> anyhow::Result<()> {
    for name in given.names() {
        if FREE.contains(&name.as_str()) || OF_THE_START.contains(&name.as_str()) {
            continue;
        }
        let before = recorded.get(&name).and_then(texts).unwrap_or_default();
        let now = given.values(&name);
        let are_equal = before.len() == now.len()
            && before.iter().zip(&now).all(|(before, now)| {
                let number = |text: &str| text.parse::<f64>().ok();
                before == now || (number(before).is_some() && number(before) == number(now))
            });
        let is_set_flag = is_flag(&name) && before == ["true"];
        if !are_equal && !is_set_flag {
            let before = if before.is_empty() {
                "unset".into()
            } else {
                before.join(",")
            };
            return Err(usage(format!(
                "`--{name}`: expected `{before}`, as when the run was started, found `{}`",
                now.join(",")
            ))
            .hint(format!(
                "omit `--{name}`, or start a new run with another `--output`"
            )));
        }
    }
    Ok(())
}

/// The options on a command line, before they are parsed.
struct Given<'a>(&'a [OsString]);

impl Given<'_> {
    /// Returns the name and the inline value of an argument that is an option.
    fn option(argument: &OsStr) -> Option<(&str, Option<&str>)> {
        let option = argument
            .to_str()?
            .strip_prefix("--")
            .filter(|name| !name.is_empty())?;
        Some(match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|argument| Self::option(argument).is_some_and(|found| found.0 == name))
    }

    fn names(&self) -> Vec<String> {
        let options = self.0.iter().filter_map(|argument| Self::option(argument));
        options.map(|(name, _)| name.to_string()).collect()
    }

    /// Returns the values of an option, each as text.
    fn values(&self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        for (index, argument) in self.0.iter().enumerate() {
            match Self::option(argument) {
                Some((found, Some(value))) if found == name => values.push(value.to_string()),
                Some((found, None)) if found == name => {
                    let after = self.0[index + 1..].iter().map_while(|value| value.to_str());
                    values.extend(
                        after
                            .take_while(|value| !value.starts_with("--"))
                            .map(String::from),
                    );
                }
                _ => {}
            }
        }
        values
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values(name).pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn shown(arguments: Vec<OsString>) -> String {
        let texts: Vec<_> = arguments
            .iter()
            .map(|text| text.to_str().unwrap())
            .collect();
        texts.join(" ")
    }

    #[test]
    fn options_of_a_recipe_are_added_and_given_ones_win() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.toml");
        let recipe = "steps = 100\nlearning-rate = 1e-4\nkeep-last = true\noffline = false\n\
            train = [\"a.txt\", \"b.txt\"]\nschedule = \"cosine\"\n";
        std::fs::write(&path, recipe).unwrap();
        let line = format!("albert-cli pretrain --steps=7 --recipe {}", path.display());
        assert_eq!(
            shown(expand(arguments(&line)).unwrap()),
            format!(
                "{line} --keep-last --learning-rate=0.0001 --schedule=cosine --train=a.txt \
                 --train=b.txt"
            )
        );
    }

    #[test]
    fn an_alternative_replaces_the_option_of_the_recipe() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.toml");
        std::fs::write(&path, "steps = 100\n").unwrap();
        let line = format!("albert-cli pretrain --epochs 2 --recipe {}", path.display());
        assert_eq!(shown(expand(arguments(&line)).unwrap()), line);
    }

    #[test]
    fn other_commands_are_left_as_they_are() {
        let line = "albert-cli embed --recipe x.toml";
        assert_eq!(shown(expand(arguments(line)).unwrap()), line);
    }

    #[test]
    fn a_broken_recipe_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.toml");
        std::fs::write(&path, "steps = 1\nseed = = 2\n").unwrap();
        let line = format!("albert-cli pretrain --recipe {}", path.display());
        let message = expand(arguments(&line)).unwrap_err().to_string();
        assert!(message.contains("recipe.toml`, line 2: "), "{message}");
    }

    #[test]
    fn a_resumed_run_takes_its_own_options_and_refuses_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("training")).unwrap();
        std::fs::write(dir.path().join(RECORDED), "seed = 7\nthreads = 2\n").unwrap();
        let line = |extra: &str| {
            format!(
                "albert-cli pretrain --resume --output {}{extra}",
                dir.path().display()
            )
        };
        let expanded = shown(expand(arguments(&line(" --threads 1"))).unwrap());
        assert!(expanded.ends_with("--threads 1 --seed=7"), "{expanded}");
        assert!(expand(arguments(&line(" --seed 7"))).is_ok());
        assert!(expand(arguments(&line(" --train a b"))).is_err());
        let message = expand(arguments(&line(" --seed 8")))
            .unwrap_err()
            .to_string();
        assert!(message.contains("seed"), "{message}");
    }
}
