//! Hints about the errors of libraries, in terms of the command line.

/// Returns a hint about a library's error in terms of the command line, or else the library's own
/// hint.
pub(super) fn hint_for(error: &albert_tasks::Error) -> Option<String> {
    use albert_model::Error as ModelError;
    use albert_tasks::Error;
    #[cfg(feature = "hub")]
    use albert_tasks::HubError;
    let hint = match error {
        Error::Model(ModelError::MissingHead { served, .. }) => {
            let commands: Vec<&str> = served
                .iter()
                .flat_map(|&head| commands(head))
                .copied()
                .collect();
            return Some(format!("this model serves {}", commands.join(", ")));
        }
        Error::Model(ModelError::OtherClassifier { found, .. }) => {
            return Some(format!("this model serves {}", commands(*found).join(", ")));
        }
        #[cfg(feature = "hub")]
        Error::Hub(HubError::Revision(_) | HubError::NoRevision { .. }) => {
            "leave `--revision` out for the branch `main`"
        }
        #[cfg(feature = "hub")]
        Error::Hub(HubError::Offline { .. }) => {
            "run `albert-cli download` once with a network, without `--offline` and HF_HUB_OFFLINE"
        }
        Error::NoHub(_) => {
            "build with `--features hub`, or download the model's files into a folder and pass it"
        }
        Error::OutOfMemory { .. } => {
            "truncate texts with `--max-length`, use `--dtype bf16`, or free GPU memory (`nvidia-smi` lists the processes that hold it)"
        }
        Error::UnknownTarget(_) => "`tokenize` shows the pieces of a text",
        Error::NoPooler => "choose another pooling, such as mean or cls",
        error if error.is_out_of_memory() => {
            "free GPU memory (`nvidia-smi` lists the processes that hold it), or use `--device cpu`"
        }
        error => return error.hint(),
    };
    Some(hint.to_string())
}

/// Returns the commands whose tasks a model with this head can do.
fn commands(head: albert_model::Head) -> &'static [&'static str] {
    use albert_model::Head;
    match head {
        Head::Encoder => &["embed", "similarity", "search", "neighbors"],
        Head::MaskedLm => &["fill-mask", "score"],
        Head::PreTraining | Head::NextSentence => &["order"],
        Head::SequenceClassification => &["classify", "zero-shot", "rerank"],
        Head::TokenClassification => &["tag"],
        Head::QuestionAnswering => &["answer"],
        Head::MultipleChoice => &["choose"],
        _ => &[],
    }
}

/// Returns a hint about an error in reading, if a remedy is known.
pub(super) fn data_hint(error: &albert_data::Error) -> Option<String> {
    if let Some(separator) = error.other_separator() {
        return Some(separator_hint(separator));
    }
    let hint = if error.is_cut_short() {
        "the run that wrote it was interrupted: run it again"
    } else if error.is_integer_vectors() {
        "vectors that `embed --precision` wrote cannot be compared: write them without it"
    } else {
        error.hint()?
    };
    Some(hint.to_string())
}

/// Returns a hint that names the option for a file with this separator.
fn separator_hint(separator: char) -> String {
    match separator {
        '\t' => "its separator looks like a tab: use `--input-format tsv`".to_string(),
        ',' => "its separator looks like a comma: use `--input-format csv`".to_string(),
        other => format!("its separator looks like `{other}`: use `--delimiter '{other}'`"),
    }
}
