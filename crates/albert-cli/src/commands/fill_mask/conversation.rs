//! The interactive mode of `fill-mask`: reads a line, shows the candidates.
//!
//! [`Session`] handles the commands, without a terminal; the loop here reads lines with history,
//! editing and completion, and shows the session's replies.

use std::path::PathBuf;
use std::{env, fs};

use albert_tasks::FillOptions;
use anyhow::Context;
use rustyline::completion::Completer;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Editor, Helper};

use super::session::{Fill, Reply, Session, commands_with};
use crate::output::Sink;
use crate::progress::Talk;

/// Runs the conversation until the user quits or the terminal closes.
pub(super) fn run(
    filler: &impl Fill,
    options: FillOptions,
    model: &str,
    talk: Talk,
) -> anyhow::Result<()> {
    /// The length of the history, enough for weeks of use.
    const HISTORY_LINES: usize = 1000;
    /// Used if the terminal does not report its width.
    const WIDTH: usize = 80;
    let config = Config::builder()
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Completion, FileHistory> =
        Editor::with_config(config).context("cannot open the terminal")?;
    editor.set_helper(Some(Completion));
    editor
        .set_max_history_size(HISTORY_LINES)
        .context("cannot keep a history")?;
    let history = history_file();
    if let Some(path) = &history {
        // There is no history the first time, and one that cannot be read is not worth an error.
        let _ = editor.load_history(path);
    }
    talk.say(format_args!(
        "{model}: write `_` for each word to find; :help for help, Ctrl-D to quit"
    ));
    let mut session = Session::new(filler, options);
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                let kept = editor.add_history_entry(&line).unwrap_or(false);
                if let (true, Some(path)) = (kept, &history) {
                    // A history that cannot be written is not an error.
                    let _ = editor.append_history(path);
                }
                let width = editor
                    .dimensions()
                    .map_or(WIDTH, |(columns, _)| columns.into());
                match session.reply(&line, width) {
                    Reply::Silence => {}
                    Reply::Answer(text) => answer(&text)?,
                    // A reply to the line just typed: `--quiet` does not silence it.
                    Reply::Remark(text) => Talk::new(false).say(text),
                    Reply::Leave => return Ok(()),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
}

fn answer(text: &str) -> anyhow::Result<()> {
    let mut sink = Sink::stdout()?;
    sink.write(text.as_bytes())?;
    sink.finish()
}

/// Returns the path of the history file and creates its folder.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| absolute("LOCALAPPDATA"))?;
    let folder = state.join("albert-cli");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Completes the names of commands, but not texts.
struct Completion;

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..position];
        let start = typed.len() - typed.trim_start().len();
        let names = match typed[start..].strip_prefix(':') {
            Some(prefix) => commands_with(prefix)
                .map(|name| format!(":{name}"))
                .collect(),
            None => Vec::new(),
        };
        Ok((start, names))
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}
