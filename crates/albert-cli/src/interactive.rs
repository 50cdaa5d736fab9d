//! `fill-mask` as a conversation: a line in, candidates out.
//!
//! [`Session`] knows the commands and nothing of terminals; the loop around it reads lines with
//! history and editing and shows what the session replies.

use std::path::PathBuf;
use std::{env, fs};

use albert_tasks::{FillOptions, FilledText, MaskFiller};
use anyhow::Context;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::commands::fill_mask::{candidates, targets};
use crate::failure::Report;
use crate::output::Sink;
use crate::progress::Talk;

const HELP: &str = "\
Write a text with a mask: `_` as a word by itself, or the model's own mask token.
  :top N         show N candidates
  :targets A,B   consider only these words; without words, all again
  :joint         fill several masks together, or each by itself again
  :help          this list
  :quit          leave, as does Ctrl-D
";

/// Fills the masks of one text.
pub(crate) trait Fill {
    /// The candidates for each mask of the text.
    fn fill(&self, text: &str, options: &FillOptions) -> anyhow::Result<FilledText>;

    /// The model's mask token.
    fn mask_token(&self) -> &str;
}

impl Fill for MaskFiller {
    fn fill(&self, text: &str, options: &FillOptions) -> anyhow::Result<FilledText> {
        let filled = MaskFiller::fill(self, &[text], options);
        filled.into_iter().next().context("no answer")?.map_err(Into::into)
    }

    fn mask_token(&self) -> &str {
        MaskFiller::mask_token(self)
    }
}

/// What a session has to say to a line.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// Nothing.
    Silence,
    /// Data, for standard output.
    Answer(String),
    /// A remark, for standard error.
    Remark(String),
    /// The end.
    Leave,
}

/// The state of a conversation: the model, and how its candidates are shown.
pub(crate) struct Session<'a, F> {
    filler: &'a F,
    options: FillOptions,
}

impl<'a, F: Fill> Session<'a, F> {
    /// A conversation that begins with these options.
    pub(crate) fn new(filler: &'a F, options: FillOptions) -> Self {
        Self { filler, options }
    }

    /// Replies to one line.
    pub(crate) fn reply(&mut self, line: &str) -> Reply {
        let line = line.trim();
        if line.is_empty() {
            return Reply::Silence;
        }
        match line.strip_prefix(':') {
            Some(command) => self.command(command),
            None => self.fill(line),
        }
    }

    fn fill(&self, line: &str) -> Reply {
        let mask = self.filler.mask_token();
        let text = expand_masks(line, mask);
        if !text.contains(mask) {
            return Reply::Remark(format!("no mask in the text: write `_` or `{mask}` for the word to find"));
        }
        match self.filler.fill(&text, &self.options) {
            Ok(filled) => {
                let cut = if filled.truncated { "the text was cut to the model's length\n" } else { "" };
                Reply::Answer(format!("{cut}{}", candidates(&filled.masks)))
            }
            Err(error) => Reply::Remark(match Report::new(&error) {
                Some(report) => report.to_string(),
                None => error.to_string(),
            }),
        }
    }

    fn command(&mut self, command: &str) -> Reply {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "top" => match rest.parse() {
                Ok(top_k) if top_k > 0 => {
                    self.options.top_k = top_k;
                    Reply::Remark(format!("showing {top_k}"))
                }
                _ => Reply::Remark(format!(":top: expected a whole number from 1, found `{rest}`")),
            },
            "targets" if rest.is_empty() => {
                self.options.targets = None;
                Reply::Remark("considering every word".to_string())
            }
            "targets" => match targets(&rest.split(',').collect::<Vec<_>>()) {
                Ok(words) => {
                    let remark = format!("considering only {}", words.join(", "));
                    self.options.targets = Some(words);
                    Reply::Remark(remark)
                }
                Err(error) => Reply::Remark(format!(":{error}")),
            },
            "joint" if rest.is_empty() => {
                self.options.joint = !self.options.joint;
                let how = if self.options.joint { "together" } else { "each by itself" };
                Reply::Remark(format!("filling several masks {how}"))
            }
            "help" if rest.is_empty() => Reply::Remark(HELP.trim_end().to_string()),
            "quit" if rest.is_empty() => Reply::Leave,
            "joint" | "help" | "quit" => {
                Reply::Remark(format!(":{name}: expected nothing after it, found `{rest}`"))
            }
            _ => Reply::Remark(format!("unknown command `:{name}`; `:help` lists them")),
        }
    }
}

/// Puts the mask token where a `_` stands by itself, that is, touches no letter, digit or `_`.
fn expand_masks(line: &str, mask_token: &str) -> String {
    let is_word = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut expanded = String::with_capacity(line.len());
    let mut before = None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '_' && !is_word(before) && !is_word(characters.peek().copied()) {
            expanded.push_str(mask_token);
        } else {
            expanded.push(character);
        }
        before = Some(character);
    }
    expanded
}

/// Talks on the terminal until its end, or until the user leaves.
pub(crate) fn run(filler: &impl Fill, options: FillOptions, model: &str, talk: Talk) -> anyhow::Result<()> {
    /// Enough to find last week's sentence, little enough to load at once.
    const HISTORY_LINES: usize = 1000;
    let config = Config::builder().history_ignore_space(true).build();
    let mut editor: Editor<(), FileHistory> =
        Editor::with_config(config).context("cannot open the terminal")?;
    editor.set_max_history_size(HISTORY_LINES).context("cannot keep a history")?;
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none, and a history that cannot be read is no loss.
        let _ = editor.load_history(path);
    }
    talk.say(format_args!("{model}: write a text with `_` for the word to find; :help, Ctrl-D leaves"));
    let mut session = Session::new(filler, options);
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                let kept = editor.add_history_entry(&line).unwrap_or(false);
                if let (true, Some(path)) = (kept, &history) {
                    // A history that cannot be written is no failure.
                    let _ = editor.append_history(path);
                }
                match session.reply(&line) {
                    Reply::Silence => {}
                    Reply::Answer(text) => answer(&text)?,
                    // A reply to what was just typed, and no talk: `--quiet` does not silence it.
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
    let mut sink = Sink::stdout();
    sink.write(text.as_bytes())?;
    sink.finish()
}

/// The file of past lines, its folder made.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| absolute("LOCALAPPDATA"))?;
    let folder = state.join("albert-cli");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use albert_tasks::{Candidate, FilledMask};
    use std::cell::RefCell;

    /// Answers every text with one candidate per mask, and remembers what it was asked.
    #[derive(Default)]
    struct Echo {
        asked: RefCell<Vec<(String, FillOptions)>>,
    }

    impl Fill for Echo {
        fn fill(&self, text: &str, options: &FillOptions) -> anyhow::Result<FilledText> {
            anyhow::ensure!(!text.contains("fail"), "cannot fill");
            self.asked.borrow_mut().push((text.to_string(), options.clone()));
            let mask = |position| FilledMask {
                position,
                candidates: vec![Candidate {
                    token: "capital".into(),
                    id: Some(1057),
                    ids: None,
                    score: 0.5,
                    text: text.replace("[MASK]", "capital"),
                }],
            };
            let count = text.matches("[MASK]").count();
            Ok(FilledText { masks: (0..count).map(mask).collect(), truncated: false })
        }

        fn mask_token(&self) -> &str {
            "[MASK]"
        }
    }

    fn options() -> FillOptions {
        FillOptions { top_k: 5, targets: None, joint: false }
    }

    fn remark(reply: Reply) -> String {
        match reply {
            Reply::Remark(text) => text,
            other => panic!("expected a remark, found {other:?}"),
        }
    }

    #[test]
    fn a_lone_underscore_is_a_mask_and_one_in_a_word_is_not() {
        let expand = |line: &str| expand_masks(line, "[MASK]");
        assert_eq!(expand("Paris is the _ of _."), "Paris is the [MASK] of [MASK].");
        assert_eq!(expand("_"), "[MASK]");
        assert_eq!(expand("(_) \"_\""), "([MASK]) \"[MASK]\"");
        assert_eq!(expand("snake_case __init__ a_ _a _1"), "snake_case __init__ a_ _a _1");
        assert_eq!(expand("a [MASK]"), "a [MASK]");
    }

    #[test]
    fn a_text_is_answered_with_a_table() {
        let echo = Echo::default();
        let reply = Session::new(&echo, options()).reply("  Paris is the _.  ");
        let Reply::Answer(answer) = reply else { panic!("{reply:?}") };
        assert_eq!(answer, "  1  capital  0.5000  ████████████\n");
        assert_eq!(echo.asked.borrow()[0].0, "Paris is the [MASK].");
    }

    #[test]
    fn several_masks_are_shown_one_after_the_other() {
        let reply = Session::new(&Echo::default(), options()).reply("_ and _");
        let Reply::Answer(answer) = reply else { panic!("{reply:?}") };
        assert!(answer.starts_with("mask 1 of 2\n  1  capital"), "{answer}");
        assert!(answer.contains("\nmask 2 of 2\n  1  capital"), "{answer}");
    }

    #[test]
    fn commands_change_what_is_asked() {
        let echo = Echo::default();
        let mut session = Session::new(&echo, options());
        for line in [":top 10", ":targets cat, dog", ":joint", "a _", ":targets", ":joint", "a _"] {
            session.reply(line);
        }
        let asked = echo.asked.borrow();
        let words = vec!["cat".to_string(), "dog".to_string()];
        assert_eq!((asked[0].1.top_k, asked[0].1.joint), (10, true));
        assert_eq!(asked[0].1.targets, Some(words));
        assert_eq!((asked[1].1.top_k, asked[1].1.joint), (10, false));
        assert_eq!(asked[1].1.targets, None);
    }

    #[test]
    fn what_is_not_understood_gets_a_line_and_changes_nothing() {
        let echo = Echo::default();
        let mut session = Session::new(&echo, options());
        for (line, expected) in [
            (":foo", "unknown command `:foo`"),
            (":", "unknown command `:`"),
            (":top", "expected a whole number"),
            (":top 0", "expected a whole number"),
            (":top many", "found `many`"),
            (":top 99999999999999999999999", "expected a whole number"),
            (":targets a,,b", "found an empty one"),
            (":joint now", "expected nothing"),
            ("no mask here", "no mask in the text"),
            ("fail _", "error: cannot fill"),
        ] {
            let text = remark(session.reply(line));
            assert!(text.contains(expected), "{line}: {text}");
            assert_eq!(text.lines().count(), 1, "{line}: {text}");
        }
        session.reply("a _");
        assert_eq!(echo.asked.borrow()[0].1.top_k, 5);
        assert_eq!(echo.asked.borrow()[0].1.targets, None);
    }

    #[test]
    fn help_names_every_command_and_quit_leaves() {
        let echo = Echo::default();
        let mut session = Session::new(&echo, options());
        let help = remark(session.reply(":help"));
        for command in [":top", ":targets", ":joint", ":help", ":quit"] {
            assert!(help.contains(command), "{command}");
        }
        assert_eq!(session.reply(":quit"), Reply::Leave);
        assert_eq!(session.reply("   "), Reply::Silence);
    }
}
