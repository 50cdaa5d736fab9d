//! The links between the repository's Markdown files, checked without a network, and the table of
//! contents of the book.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    normal(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

/// Resolves `..` without looking at the disk.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// Returns the Markdown files below a folder, without build outputs, test data and hidden folders
/// other than `.github`.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_hidden = name.starts_with('.') && name != ".github";
        let skipped = ["target", "fixtures", "corpus", "shared", "node_modules"];
        if path.is_symlink() || is_hidden || skipped.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines of a page outside of fenced code, with their numbers.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((number, line));
        }
    }
    lines
}

/// The targets of the links in a page, with the line in which each link ends.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(page) {
        for (at, _) in line.match_indices("](") {
            // An odd number of backticks: the brackets are code.
            let is_code = line[..at].matches('`').count() % 2 == 1;
            if let Some((target, _)) = line[at + 2..].split_once(')')
                && !is_code
            {
                let target = target.split_whitespace().next().unwrap_or_default();
                found.push((number, target.to_string()));
            }
        }
    }
    found
}

/// The anchors of a page's headings, as GitHub and mdBook form them.
fn anchors(page: &str) -> Vec<String> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let headings = prose(page).into_iter().filter_map(|(_, line)| {
        line.trim_start_matches('#')
            .strip_prefix(' ')
            .filter(|_| line.starts_with('#'))
    });
    headings
        .map(|heading| {
            let kept = heading.trim().chars().filter_map(|c| match c {
                ' ' => Some('-'),
                '-' | '_' => Some(c),
                c if c.is_alphanumeric() => Some(c),
                _ => None,
            });
            let anchor: String = kept.flat_map(char::to_lowercase).collect();
            let time = times.entry(anchor.clone()).or_default();
            *time += 1;
            if *time == 1 {
                anchor
            } else {
                format!("{anchor}-{}", *time - 1)
            }
        })
        .collect()
}

/// The reason why a link from a page is dead, if it is.
fn dead(page: &Path, target: &str) -> Option<String> {
    let has_scheme = target.contains("://") || target.starts_with("mailto:");
    if has_scheme || target.is_empty() {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => page.to_path_buf(),
        path => normal(&page.parent().unwrap_or(page).join(path)),
    };
    if !file.starts_with(root()) {
        return Some("leaves the repository".to_string());
    }
    if !file.exists() {
        return Some("no such file".to_string());
    }
    if anchor.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let anchors = anchors(&fs::read_to_string(&file).unwrap());
    let is_there = anchors.iter().any(|known| known == anchor);
    (!is_there).then(|| format!("no such heading; the page has {}", anchors.join(", ")))
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut found = Vec::new();
    pages(&root(), &mut found);
    assert!(found.contains(&root().join("README.md")), "{found:?}");
    let mut checked = 0;
    let mut bad = Vec::new();
    for page in &found {
        let text = fs::read_to_string(page).unwrap();
        for (line, target) in links(&text) {
            checked += 1;
            if let Some(why) = dead(page, &target) {
                let name = page.strip_prefix(root()).unwrap_or(page).display();
                bad.push(format!("{name}:{line}: `{target}`: {why}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(checked > 50, "{checked} links");
}

#[test]
fn the_book_has_every_page() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary)
        .into_iter()
        .map(|(_, target)| docs.join(target))
        .collect();
    let mut found = Vec::new();
    pages(&docs, &mut found);
    for page in found {
        let is_summary = page.ends_with("SUMMARY.md");
        assert!(is_summary || listed.contains(&page), "{}", page.display());
    }
}

#[test]
fn headings_have_the_anchors_of_github() {
    let page = "# The `--model` option\n\n```sh\n# a comment\n```\n\n## Rows, in and out\n## Rows, in and out\n#hashtag\n";
    let expected = ["the---model-option", "rows-in-and-out", "rows-in-and-out-1"];
    assert_eq!(anchors(page), expected);
}

#[test]
fn links_in_code_are_not_links() {
    let page =
        "See [one](a.md) and `[two](b.md)`.\n```\n[three](c.md)\n```\n[four](d.md#x \"title\")\n";
    let expected = [(1, "a.md".to_string()), (5, "d.md#x".to_string())];
    assert_eq!(links(page), expected);
}

#[test]
fn a_dead_link_has_a_reason() {
    let page = root().join("docs/start.md");
    assert_eq!(dead(&page, "cli.md"), None);
    assert_eq!(dead(&page, "https://example.org"), None);
    assert_eq!(dead(&page, "#search"), None);
    assert_eq!(dead(&page, "missing.md").as_deref(), Some("no such file"));
    let reason = dead(&page, "cli.md#missing").unwrap_or_default();
    assert!(reason.starts_with("no such heading"), "{reason}");
    let reason = dead(&page, "../../outside.md");
    assert_eq!(reason.as_deref(), Some("leaves the repository"));
}
