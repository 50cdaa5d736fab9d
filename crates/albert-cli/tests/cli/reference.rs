//! docs/cli.md and docs/start.md show what the program does: options are those of the command tree,
//! and the lines after a command are its output.
//!
//! With `UPDATE=1` in the environment the tests write the pages anew instead of comparing them.
//! Prose is left as it is; of examples only the lines that begin with `$` or `>` are read.

use std::fs;
use std::path::PathBuf;

use crate::harness::cli;
use crate::shell::Shell;

/// Kernels of other instruction sets sum in another order; numbers of four digits and more round
/// apart.
const TOLERANCE: f64 = 2e-4;

/// Those differences after some steps of training.
const TRAINED_TOLERANCE: f64 = 0.02;

const OPTIONS: &str = "<!-- options: ";

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

#[test]
fn the_page_shows_what_the_program_does() {
    assert_current("cli.md", in_f32, TOLERANCE);
}

#[cfg(feature = "train")]
#[test]
fn the_first_page_shows_what_the_program_does() {
    assert_current("start.md", as_on_a_terminal, TRAINED_TOLERANCE);
}

/// Returns a command that computes in f32, whose numbers are those of every processor: int8, the type
/// of the built-in model's weights, rounds activations, and a sum in another order may round apart.
fn in_f32(script: &str) -> String {
    format!("export ALBERT_DTYPE=f32\n{script}")
}

/// Returns a command that writes what a terminal shows, a table; the output of a test is none.
fn as_on_a_terminal(script: &str) -> String {
    let tables = ["embed", "similarity", "search", "fill-mask", "classify"];
    let is_table = tables
        .iter()
        .any(|command| script.starts_with(&format!("albert-cli {command} ")));
    if is_table && !script.contains(" --output ") {
        format!("{script} --format table")
    } else {
        script.to_string()
    }
}

/// Checks that a page's outputs are those of its commands, each adapted by `adapt`.
fn assert_current(name: &str, adapt: impl Fn(&str) -> String, tolerance: f64) {
    let old = fs::read_to_string(page(name)).unwrap();
    let shell = Shell::new();
    let run = |script: &str| {
        let run = shell.run(&format!("exec 2>&1\n{}", adapt(script)));
        shell.anonymous(&run.stdout)
    };
    let new = regenerate(&old, run, tolerance);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(page(name), &new).unwrap();
    }
    let stale: Vec<String> = old
        .lines()
        .zip(new.lines())
        .filter(|(old, new)| old != new)
        .map(|(old, new)| format!("docs/{name} has  {old}\nthe program says {new}"))
        .collect();
    assert!(
        old == new || std::env::var_os("UPDATE").is_some(),
        "{}\nIf that is right: UPDATE=1 cargo test --release --workspace --test cli reference",
        stale.join("\n")
    );
}

#[test]
fn every_command_has_its_options_and_an_example() {
    let page = fs::read_to_string(page("cli.md")).unwrap();
    let help = cli(&["--help"]).ok().stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let names = commands.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = names
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"embed") && names.len() > 15, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(
            page.contains(&format!("{OPTIONS}{name} -->")),
            "{name}: no options"
        );
        assert!(
            examples(&page)
                .iter()
                .any(|line| line.contains(&format!("albert-cli {name}"))),
            "{name}"
        );
    }
}

/// The command lines of the page's examples.
fn examples(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect()
}

/// The page with its options and the outputs of its examples as they are now.
fn regenerate(page: &str, run: impl Fn(&str) -> String, tolerance: f64) -> String {
    let shared = entries(&cli(&["score", "--help"]).ok().stdout);
    let mut lines = page.lines().peekable();
    let mut new = String::new();
    let put = |new: &mut String, text: &str| {
        new.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            new.push('\n');
        }
    };
    while let Some(line) = lines.next() {
        put(&mut new, if line.is_empty() { "\n" } else { line });
        if let Some(name) = line
            .strip_prefix(OPTIONS)
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            if lines.next_if(|line| line.starts_with("```")).is_some() {
                lines
                    .by_ref()
                    .take_while(|line| !line.starts_with("```"))
                    .for_each(drop);
            }
            put(&mut new, &format!("```text\n{}```", options(name, &shared)));
        } else if line == "```console" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            for (command, old) in split(&block) {
                let script = command.trim_start_matches("$ ").replace("\n> ", "\n");
                let output = run(&script);
                put(&mut new, &command);
                put(
                    &mut new,
                    if alike(&old, &output, &script, tolerance) {
                        &old
                    } else {
                        &output
                    },
                );
            }
            put(&mut new, "```");
        }
    }
    new
}

/// The commands of a block, each with the output below it. A line that begins with `>` continues
/// the command.
fn split(block: &[&str]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in block {
        match found.last_mut() {
            _ if line.starts_with("$ ") => found.push((line.to_string(), String::new())),
            Some((command, output)) if line.starts_with("> ") && output.is_empty() => {
                command.push_str(&format!("\n{line}"));
            }
            Some((_, output)) => output.push_str(&format!("{line}\n")),
            None => panic!("an example begins with `$ `, found `{line}`"),
        }
    }
    found
}

/// An option of the help, or an argument, with the heading above it.
#[derive(Debug, PartialEq)]
struct Entry {
    heading: String,
    text: String,
}

/// The options and arguments that a command's help lists.
fn entries(help: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut heading = None;
    for line in help.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            heading = Some(name);
        }
        let Some(heading) = heading.filter(|heading| *heading != "Examples") else {
            continue;
        };
        let starts = line.starts_with("  ")
            && matches!(line.trim_start().chars().next(), Some('-' | '[' | '<'));
        let indent = line.len() - line.trim_start().len();
        if starts && indent < 8 {
            found.push(Entry {
                heading: heading.to_string(),
                text: format!("{line}\n"),
            });
        } else if !line.trim().is_empty()
            && line.starts_with("  ")
            && let Some(last) = found.last_mut()
        {
            last.text.push_str(&format!("{line}\n"));
        }
    }
    found
}

/// Returns a command's summary, its usage and its own options; shared options are named by their
/// headings.
fn options(name: &str, shared: &[Entry]) -> String {
    let help = match name {
        "shared" => {
            let own = shared.iter().filter(|entry| entry.heading != "Arguments");
            return headed(&own.collect::<Vec<_>>());
        }
        _ => cli(&[name, "--help"]).ok().stdout,
    };
    // What the command does, up to its usage.
    let begin = help.lines().take_while(|line| !line.starts_with("Usage: "));
    let mut text: String = begin.map(|line| format!("{line}\n")).collect();
    text.push_str(
        help.lines()
            .find(|line| line.starts_with("Usage: "))
            .unwrap(),
    );
    text.push('\n');
    let all = entries(&help);
    let (common, own): (Vec<&Entry>, Vec<&Entry>) =
        all.iter().partition(|entry| shared.contains(entry));
    let mut headings: Vec<&str> = Vec::new();
    for entry in common
        .iter()
        .filter(|entry| !["Arguments", "Options"].contains(&entry.heading.as_str()))
    {
        if !headings.contains(&entry.heading.as_str()) {
            headings.push(&entry.heading);
        }
    }
    if !own.is_empty() {
        text.push_str(&format!("\n{}", headed(&own)));
    }
    if !headings.is_empty() {
        text.push_str(&format!("\nShared: {}\n", headings.join(", ")));
    }
    text
}

fn headed(entries: &[&Entry]) -> String {
    let mut text = String::new();
    let mut heading = "";
    for entry in entries {
        if entry.heading != heading {
            let gap = if heading.is_empty() { "" } else { "\n" };
            heading = &entry.heading;
            text.push_str(&format!("{gap}{heading}:\n"));
        }
        text.push_str(&entry.text);
    }
    text
}

/// Returns true if two outputs agree: seconds and rates are not compared, decimals to the
/// tolerance, and bars not at all, since they follow from the numbers next to them.
fn alike(old: &str, new: &str, script: &str, tolerance: f64) -> bool {
    if script.contains("albert-cli bench") {
        let begins = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| {
                    line.split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_string()
                })
                .collect()
        };
        return begins(old) == begins(new);
    }
    let (old, new) = (parts(&comparable(old)), parts(&comparable(new)));
    let near = |old: &Part, new: &Part| match (old, new) {
        (Part::Number(a), Part::Number(b)) => {
            (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs()))
        }
        (old, new) => old == new,
    };
    old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| near(old, new))
}

/// The text without what differs from run to run.
fn comparable(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let mut line = line.to_string();
        if line.ends_with(" tokens/s") || line.ends_with(" rows/s") {
            line = without_last(&line, 2);
        } else if line.ends_with(" slots") {
            // One per core.
            line = without_last(&line, 1);
        } else if line.starts_with("done after ")
            && let Some((begin, end)) = line.split_once("; ")
        {
            line = format!("{}; {end}", without_last(begin, 1));
        }
        line.retain(|c| !('\u{2581}'..='\u{258f}').contains(&c));
        kept.push_str(line.trim_end());
        kept.push('\n');
    }
    kept
}

/// A line without its last parts, which commas divide.
fn without_last(line: &str, parts: usize) -> String {
    line.rsplitn(parts + 1, ", ")
        .last()
        .unwrap_or(line)
        .to_string()
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    /// A number with a point or an exponent; whole ones are text.
    Number(f64),
}

fn parts(text: &str) -> Vec<Part> {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '-');
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_number = rest.starts_with(numeric);
        let end = rest.find(|c| numeric(c) != is_number).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        match part.parse::<f64>() {
            Ok(number) if part.contains(['.', 'e']) => found.push(Part::Number(number)),
            _ => found.push(Part::Text(part.to_string())),
        }
    }
    found
}

#[test]
fn outputs_are_compared_but_for_time_and_rounding() {
    let same = |old: &str, new: &str| alike(old, new, "albert-cli embed", TOLERANCE);
    assert!(same(
        "1 row, 5 tokens, 0.01 s, 571 tokens/s\n",
        "1 row, 5 tokens, 0.12 s, 42 tokens/s\n"
    ));
    assert!(!same(
        "1 row, 5 tokens, 0.01 s, 571 tokens/s\n",
        "1 row, 6 tokens, 0.01 s, 571 tokens/s\n"
    ));
    assert!(same("[0.12345678,-1.5e-7]", "[0.12345679,-1.6e-7]"));
    assert!(!same("[0.1234]", "[0.1254]"));
    assert!(!same("position 5", "position 6"));
    assert!(same("door  0.0722  ████▌", "door  0.0722  ████▋"));
    assert!(!same("a\n", "a\nb\n"));
    assert!(same(
        "done after 20 steps, 1590 tokens, 5.7 s; loss 0.6615\n",
        "done after 20 steps, 1590 tokens, 0.9 s; loss 0.6615\n"
    ));
    assert!(!same(
        "done after 20 steps, 1590 tokens, 5.7 s; loss 0.6615\n",
        "done after 20 steps, 1591 tokens, 5.7 s; loss 0.6615\n"
    ));
    let timed = |old: &str, new: &str| alike(old, new, "albert-cli bench", TOLERANCE);
    assert!(timed("1x16  16  0.35  45820\n", "1x16  16  9.01  45\n"));
    assert!(!timed("1x16  16\n", "1x32  16\n"));
}

#[test]
fn only_outputs_and_options_are_written_anew() {
    let page = "# Title\n\nText, `$ x`.\n\n```console\n$ one \\\n> two\nold\n$ three\n```\n\nEnd\n";
    let run = |script: &str| format!("<{}>\n", script.replace('\n', "|"));
    let new = regenerate(page, run, TOLERANCE);
    let expected = "# Title\n\nText, `$ x`.\n\n```console\n$ one \\\n> two\n<one \\|two>\n$ three\n<three>\n```\n\nEnd\n";
    assert_eq!(new, expected);
    let page = "<!-- options: completions -->\n```text\nstale\n```\nafter\n";
    let new = regenerate(page, |_| String::new(), TOLERANCE);
    assert!(
        new.starts_with("<!-- options: completions -->\n```text\nPrint the completion script"),
        "{new}"
    );
    assert!(
        new.ends_with("```\nafter\n") && !new.contains("stale"),
        "{new}"
    );
}
