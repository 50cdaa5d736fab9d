//! The state of the interactive mode: its commands, options and replies.

use albert_tasks::{FillOptions, FilledText, MaskFiller};
use anyhow::Context;

use super::chart::chart;
use super::options::{MAX_BEAM, targets};
use crate::failure::Report;

/// A command of the conversation.
struct Command {
    name: &'static str,
    /// The argument as the help shows it.
    argument: &'static str,
    about: &'static str,
}

/// The commands, in the order of the help.
const COMMANDS: [Command; 6] = [
    Command {
        name: "top",
        argument: "N",
        about: "show N candidates",
    },
    Command {
        name: "targets",
        argument: "A,B",
        about: "only these words; without any, all words",
    },
    Command {
        name: "joint",
        argument: "",
        about: "fill masks jointly, or independently again",
    },
    Command {
        name: "beam",
        argument: "N",
        about: "fill jointly and show the N best fillings",
    },
    Command {
        name: "help",
        argument: "",
        about: "this list",
    },
    Command {
        name: "quit",
        argument: "",
        about: "quit, like Ctrl-D",
    },
];

/// Returns the names of the commands with a prefix.
pub(super) fn commands_with(prefix: &str) -> impl Iterator<Item = &'static str> {
    COMMANDS
        .iter()
        .map(|command| command.name)
        .filter(move |name| name.starts_with(prefix))
}

fn help() -> String {
    let mut lines = "Write a text with `_` for each word to find.".to_string();
    for Command {
        name,
        argument,
        about,
    } in &COMMANDS
    {
        lines.push_str(&format!(
            "\n  {:<12}  {about}",
            format!(":{name} {argument}")
        ));
    }
    lines + "\nTab completes commands, arrow keys recall earlier lines."
}

/// Fills the masks of one text.
pub(super) trait Fill {
    /// Returns the candidates for each mask of the text.
    fn fill(&self, text: &str, options: &FillOptions) -> anyhow::Result<FilledText>;

    /// Returns the model's mask token.
    fn mask_token(&self) -> &str;
}

impl Fill for MaskFiller {
    fn fill(&self, text: &str, options: &FillOptions) -> anyhow::Result<FilledText> {
        let filled = MaskFiller::fill(self, &[text], options)?;
        filled.into_iter().next().context("no answer")
    }

    fn mask_token(&self) -> &str {
        MaskFiller::mask_token(self)
    }
}

/// The reply to a line.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
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
pub(super) struct Session<'a, F> {
    filler: &'a F,
    options: FillOptions,
}

impl<'a, F: Fill> Session<'a, F> {
    /// Starts a conversation with these options.
    pub(super) fn new(filler: &'a F, options: FillOptions) -> Self {
        Self { filler, options }
    }

    /// Replies to one line, in lines of at most `width` columns.
    pub(super) fn reply(&mut self, line: &str, width: usize) -> Reply {
        let line = line.trim();
        if line.is_empty() {
            return Reply::Silence;
        }
        match line.strip_prefix(':') {
            Some(command) => self.command(command),
            None => self.fill(line, width),
        }
    }

    fn fill(&self, line: &str, width: usize) -> Reply {
        let mask = self.filler.mask_token();
        let text = expand_masks(line, mask);
        if !text.contains(mask) {
            return Reply::Remark(format!(
                "no mask in the text: write `_` or `{mask}` for each word to find"
            ));
        }
        match self.filler.fill(&text, &self.options) {
            Ok(filled) => {
                let cut = if filled.truncated {
                    "the text was truncated to the model's limit\n"
                } else {
                    ""
                };
                Reply::Answer(format!(
                    "{cut}{}",
                    chart(&filled.masks, &filled.fillings, width)
                ))
            }
            Err(error) => Reply::Remark(match Report::new(&error) {
                Some(report) => report.to_string(),
                None => error.to_string(),
            }),
        }
    }

    fn command(&mut self, command: &str) -> Reply {
        let (name, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "top" => match rest.parse() {
                Ok(top_k) if top_k > 0 => {
                    self.options.top_k = top_k;
                    Reply::Remark(format!("showing {top_k}"))
                }
                _ => Reply::Remark(format!(
                    ":top: expected a whole number from 1, found `{rest}`"
                )),
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
                self.options.beam = 1;
                let how = if self.options.joint {
                    "jointly"
                } else {
                    "independently"
                };
                Reply::Remark(format!("filling several masks {how}"))
            }
            "beam" => match rest.parse() {
                Ok(beam) if (1..=MAX_BEAM).contains(&beam) => {
                    (self.options.joint, self.options.beam) = (true, beam);
                    Reply::Remark(format!(
                        "filling several masks jointly, showing the best {beam} fillings"
                    ))
                }
                _ => Reply::Remark(format!(
                    ":beam: expected a whole number from 1 to {MAX_BEAM}, found `{rest}`"
                )),
            },
            "help" if rest.is_empty() => Reply::Remark(help()),
            "quit" if rest.is_empty() => Reply::Leave,
            "joint" | "help" | "quit" => {
                Reply::Remark(format!(":{name}: expected no argument, found `{rest}`"))
            }
            _ => Reply::Remark(format!("unknown command `:{name}`; {}", advice(name))),
        }
    }
}

/// Suggests a command in place of an unknown one.
fn advice(name: &str) -> String {
    let nearest = COMMANDS
        .iter()
        .map(|command| (strsim::osa_distance(name, command.name), command.name))
        .min();
    match nearest {
        // At most one typing error in three letters.
        Some((slips, meant)) if slips * 3 <= name.chars().count() => {
            format!("did you mean `:{meant}`? `:help` lists them")
        }
        _ => "`:help` lists them".to_string(),
    }
}

/// Replaces each `_` that touches no letter, digit or `_` with the mask token.
fn expand_masks(line: &str, mask_token: &str) -> String {
    let is_word =
        |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
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

#[cfg(test)]
mod tests {
    use super::*;
    use albert_tasks::{Candidate, FilledMask};
    use std::cell::RefCell;
    use unicode_width::UnicodeWidthStr;

    const WIDE: usize = 100;

    /// Answers every text with one candidate per mask, and records the calls.
    #[derive(Default)]
    struct Echo {
        asked: RefCell<Vec<(String, FillOptions)>>,
    }

    impl Fill for Echo {
        fn fill(&self, text: &str, options: &FillOptions) -> anyhow::Result<FilledText> {
            anyhow::ensure!(!text.contains("fail"), "cannot fill");
            self.asked
                .borrow_mut()
                .push((text.to_string(), options.clone()));
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
            Ok(FilledText {
                masks: (0..count).map(mask).collect(),
                fillings: Vec::new(),
                truncated: false,
            })
        }

        fn mask_token(&self) -> &str {
            "[MASK]"
        }
    }

    fn options() -> FillOptions {
        FillOptions::default()
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
        assert_eq!(
            expand("Paris is the _ of _."),
            "Paris is the [MASK] of [MASK]."
        );
        assert_eq!(expand("_"), "[MASK]");
        assert_eq!(expand("(_) \"_\""), "([MASK]) \"[MASK]\"");
        assert_eq!(
            expand("snake_case __init__ a_ _a _1"),
            "snake_case __init__ a_ _a _1"
        );
        assert_eq!(expand("a [MASK]"), "a [MASK]");
    }

    #[test]
    fn a_text_is_answered_with_a_table() {
        let echo = Echo::default();
        let reply = Session::new(&echo, options()).reply("  Paris is the _.  ", WIDE);
        let Reply::Answer(answer) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(answer, "  1  capital  0.5000  ████████████████████████\n");
        assert_eq!(echo.asked.borrow()[0].0, "Paris is the [MASK].");
    }

    #[test]
    fn several_masks_are_shown_one_after_the_other() {
        let reply = Session::new(&Echo::default(), options()).reply("_ and _", WIDE);
        let Reply::Answer(answer) = reply else {
            panic!("{reply:?}")
        };
        assert!(answer.starts_with("mask 1 of 2\n  1  capital"), "{answer}");
        assert!(answer.contains("\nmask 2 of 2\n  1  capital"), "{answer}");
    }

    #[test]
    fn commands_change_what_is_asked() {
        let echo = Echo::default();
        let mut session = Session::new(&echo, options());
        for line in [
            ":top 10",
            ":targets cat, dog",
            ":joint",
            "a _",
            ":targets",
            ":joint",
            "a _",
        ] {
            session.reply(line, WIDE);
        }
        let asked = echo.asked.borrow();
        let words = vec!["cat".to_string(), "dog".to_string()];
        assert_eq!((asked[0].1.top_k, asked[0].1.joint), (10, true));
        assert_eq!(asked[0].1.targets, Some(words));
        assert_eq!((asked[1].1.top_k, asked[1].1.joint), (10, false));
        assert_eq!(asked[1].1.targets, None);
    }

    #[test]
    fn a_beam_fills_together_until_joint_ends_it() {
        let echo = Echo::default();
        let mut session = Session::new(&echo, options());
        for line in [":beam 7", "a _", ":joint", "a _"] {
            session.reply(line, WIDE);
        }
        let asked = echo.asked.borrow();
        assert_eq!((asked[0].1.joint, asked[0].1.beam), (true, 7));
        assert_eq!((asked[1].1.joint, asked[1].1.beam), (false, 1));
    }

    #[test]
    fn a_narrow_terminal_gets_shorter_bars_and_then_shorter_words() {
        for width in [80, 40, 28, 22] {
            let reply = Session::new(&Echo::default(), options()).reply("_ and _", width);
            let Reply::Answer(answer) = reply else {
                panic!("{reply:?}")
            };
            assert!(
                answer.lines().all(|line| line.width() <= width),
                "{width}: {answer}"
            );
            assert!(answer.contains("0.5000"), "{answer}");
        }
    }

    #[test]
    fn commands_are_completed_from_their_beginning() {
        assert_eq!(commands_with("t").collect::<Vec<_>>(), ["top", "targets"]);
        assert_eq!(commands_with("").count(), COMMANDS.len());
        assert_eq!(commands_with("x").count(), 0);
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
            (":joint now", "expected no argument"),
            (":tpo 3", "did you mean `:top`"),
            (":target a", "did you mean `:targets`"),
            (":beam", "from 1 to 100"),
            (":beam 0", "found `0`"),
            (":beam 101", "found `101`"),
            ("no mask here", "no mask in the text"),
            ("fail _", "error: cannot fill"),
        ] {
            let text = remark(session.reply(line, WIDE));
            assert!(text.contains(expected), "{line}: {text}");
            assert_eq!(text.lines().count(), 1, "{line}: {text}");
        }
        session.reply("a _", WIDE);
        assert_eq!(echo.asked.borrow()[0].1.top_k, 5);
        assert_eq!(echo.asked.borrow()[0].1.targets, None);
    }

    #[test]
    fn help_names_every_command_and_quit_leaves() {
        let echo = Echo::default();
        let mut session = Session::new(&echo, options());
        let help = remark(session.reply(":help", WIDE));
        for command in [
            ":top N",
            ":targets A,B",
            ":joint",
            ":beam N",
            ":help",
            ":quit",
        ] {
            assert!(help.contains(command), "{command}");
        }
        assert!(help.lines().all(|line| line.width() <= 60), "{help}");
        assert_eq!(session.reply(":quit", WIDE), Reply::Leave);
        assert_eq!(session.reply("   ", WIDE), Reply::Silence);
    }
}
