//! A corpus of text files, with one sentence per line and a blank line between documents, read as a
//! stream.
//!
//! There is no preprocessing pass, and memory does not depend on the size of the files. Up to
//! [`OPEN_FILES`] files are read at the same time, at rates such that all of them end together, so
//! that every part of the stream has the same mixture.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::draws::{Purpose, key};
use crate::error::{Error, Result};
use crate::permutation::Permutation;

/// The number of files read at the same time.
const OPEN_FILES: usize = 16;

/// The maximum length of a document in bytes. A longer one, such as a book, is split into several
/// documents.
const DOCUMENT_BYTES: usize = 1 << 16;

/// The extensions of the files read from a folder.
const EXTENSIONS: [&str; 3] = ["txt", "gz", "zst"];

/// A file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusFile {
    /// The path.
    pub path: PathBuf,
    /// The size in bytes, compressed if the file is.
    pub bytes: u64,
}

/// The files of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    files: Vec<CorpusFile>,
}

impl Corpus {
    /// Lists the files of a corpus: files as given, and those of folders in the order of names,
    /// folders within folders included and hidden files left out.
    ///
    /// # Errors
    /// If a path cannot be read, or a folder has no text file.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            let (path, before) = (path.as_ref(), files.len());
            list(path, true, &mut files)?;
            if files.len() == before {
                return Err(Error::NoText(path.into()));
            }
        }
        Ok(Self { files })
    }

    /// Returns the files.
    pub fn files(&self) -> &[CorpusFile] {
        &self.files
    }

    /// Returns the size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Counts the sentences of an epoch.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn sentences(&self) -> Result<u64> {
        let (mut documents, mut count) = (self.documents(None, 0), 0);
        while let Some(document) = documents.next_document()? {
            count += document.len() as u64;
        }
        Ok(count)
    }

    /// Describes the files: the first file and the number of others.
    pub fn name(&self) -> String {
        let first = self.files.first().map_or(Path::new(""), |file| &file.path);
        match self.files.len() {
            0 | 1 => format!("`{}`", first.display()),
            count => format!("`{}` and {} more", first.display(), count - 1),
        }
    }

    /// Returns the documents of an epoch, from the start.
    ///
    /// With `seed` the files come in an order drawn for the epoch and are read side by side;
    /// without it they are read one after another as they are listed.
    pub fn documents(&self, seed: Option<u64>, epoch: u64) -> Documents {
        let order = seed.map(|seed| {
            Permutation::new(key(seed, Purpose::FileOrder, &[epoch]), self.files.len())
        });
        Documents {
            files: self.files.clone(),
            order,
            lanes: Vec::new(),
            next_file: 0,
            done_bytes: 0,
        }
    }
}

/// Adds `path`, or the text files below it. A named file may have any extension.
fn list(path: &Path, is_named: bool, files: &mut Vec<CorpusFile>) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(Error::read(path))?;
    if !metadata.is_dir() {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_named || extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            files.push(CorpusFile {
                path: path.into(),
                bytes: metadata.len(),
            });
        }
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::read(path))? {
        entries.push(entry.map_err(Error::read(path))?.path());
    }
    entries.sort();
    for entry in entries {
        let is_hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden {
            list(&entry, false, files)?;
        }
    }
    Ok(())
}

/// A document: sentences that follow each other in the text.
pub type Document = Vec<String>;

/// A position in the stream of documents: the position in each open file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The open files.
    lanes: Vec<LanePlace>,
    /// The number of files of the epoch's order that have been opened.
    next_file: usize,
    /// The total size of the files that have been read to their end.
    done_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LanePlace {
    file: usize,
    text_bytes: u64,
    lines: u64,
}

/// The documents of one epoch.
pub struct Documents {
    files: Vec<CorpusFile>,
    order: Option<Permutation>,
    lanes: Vec<Lane>,
    next_file: usize,
    done_bytes: u64,
}

struct Lane {
    file: usize,
    bytes: u64,
    lines: Lines,
}

impl Lane {
    /// Returns the share of the file that has been read.
    fn share(&self) -> f64 {
        self.lines.file_bytes() as f64 / self.bytes.max(1) as f64
    }
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents")
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}

impl Documents {
    /// Returns the next document; `None` at the end of the epoch.
    ///
    /// # Errors
    /// If a file cannot be read or is no UTF-8 text.
    pub fn next_document(&mut self) -> Result<Option<Document>> {
        loop {
            let wanted = if self.order.is_some() { OPEN_FILES } else { 1 };
            while self.lanes.len() < wanted && self.next_file < self.files.len() {
                let lane = self.lane(self.file_at(self.next_file))?;
                self.lanes.push(lane);
                self.next_file += 1;
            }
            // The file with the smallest fraction read so far.
            let shares = self.lanes.iter().map(Lane::share).enumerate();
            let Some((index, _)) = shares.min_by(|a, b| a.1.total_cmp(&b.1)) else {
                return Ok(None);
            };
            match document(&mut self.lanes[index].lines)? {
                Some(document) => return Ok(Some(document)),
                None => self.done_bytes += self.lanes.remove(index).bytes,
            }
        }
    }

    /// Returns the share of the epoch's bytes that has been read, from 0 to 1.
    pub fn share(&self) -> f64 {
        let total: u64 = self.files.iter().map(|file| file.bytes).sum();
        let open: u64 = self
            .lanes
            .iter()
            .map(|lane| lane.lines.file_bytes().min(lane.bytes))
            .sum();
        match total {
            0 => 1.0,
            total => (self.done_bytes + open) as f64 / total as f64,
        }
    }

    /// Returns the position to continue from.
    pub fn place(&self) -> Place {
        let lanes = self.lanes.iter().map(|lane| LanePlace {
            file: lane.file,
            text_bytes: lane.lines.text_bytes(),
            lines: lane.lines.line(),
        });
        Place {
            lanes: lanes.collect(),
            next_file: self.next_file,
            done_bytes: self.done_bytes,
        }
    }

    /// Goes to a place that [`place`](Self::place) returned for the same files.
    ///
    /// # Errors
    /// If a file cannot be read or has become shorter.
    pub fn go_to(&mut self, place: &Place) -> Result<()> {
        self.lanes.clear();
        for lane_place in &place.lanes {
            let mut lane = self.lane(lane_place.file)?;
            lane.lines.skip(lane_place.text_bytes, lane_place.lines)?;
            self.lanes.push(lane);
        }
        self.next_file = place.next_file;
        self.done_bytes = place.done_bytes;
        Ok(())
    }

    fn file_at(&self, index: usize) -> usize {
        self.order.map_or(index, |order| order.at(index))
    }

    fn lane(&self, file: usize) -> Result<Lane> {
        let CorpusFile { path, bytes } = &self.files[file];
        Ok(Lane {
            file,
            bytes: *bytes,
            lines: Lines::open(path)?,
        })
    }
}

/// Reads the next document of a file.
fn document(lines: &mut Lines) -> Result<Option<Document>> {
    let (mut sentences, mut bytes) = (Document::new(), 0);
    while let Some(line) = lines.next()? {
        if line.is_empty() {
            if sentences.is_empty() {
                continue;
            }
            break;
        }
        bytes += line.len();
        sentences.push(line.to_string());
        if bytes >= DOCUMENT_BYTES {
            break;
        }
    }
    Ok(Some(sentences).filter(|sentences| !sentences.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(files: &[(&str, &str)]) -> (tempfile::TempDir, Corpus) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let corpus = Corpus::open(&[dir.path()]).unwrap();
        (dir, corpus)
    }

    fn all(mut documents: Documents) -> Vec<Document> {
        std::iter::from_fn(|| documents.next_document().unwrap()).collect()
    }

    #[test]
    fn blank_lines_divide_documents_and_files_end_them() {
        let (_dir, corpus) = corpus(&[
            ("a.txt", "\n\nOne.\nTwo.\n\n\nThree.\n"),
            ("b.txt", "Four.\n"),
            (".hidden.txt", "no"),
            ("c.csv", "no"),
        ]);
        let documents = all(corpus.documents(None, 0));
        assert_eq!(
            documents,
            [vec!["One.", "Two."], vec!["Three."], vec!["Four."]]
        );
    }

    #[test]
    fn files_of_different_sizes_end_together() {
        let text = |name: &str, documents: usize| -> String {
            (0..documents)
                .map(|i| format!("{name} has a sentence with number {i:05}.\n\n"))
                .collect()
        };
        let (_dir, corpus) = corpus(&[("a.txt", &text("a", 9000)), ("b.txt", &text("b", 3000))]);
        let documents = all(corpus.documents(Some(1), 0));
        assert_eq!(documents.len(), 12_000);
        for part in documents.chunks(100) {
            let of_b = part
                .iter()
                .filter(|document| document[0].starts_with('b'))
                .count();
            assert!((24..=26).contains(&of_b), "{of_b}");
        }
    }

    #[test]
    fn reading_goes_on_from_any_place() {
        let text: String = (0..50)
            .map(|i| format!("Sentence {i}.\nAnother.\n\n"))
            .collect();
        let (_dir, corpus) = corpus(&[("a.txt", &text), ("b.txt", &text), ("c.txt", "Only.")]);
        let whole = all(corpus.documents(Some(7), 2));
        for start in [0, 1, 17, 100, 101] {
            let mut first = corpus.documents(Some(7), 2);
            for _ in 0..start {
                first.next_document().unwrap();
            }
            let mut second = corpus.documents(Some(7), 2);
            second.go_to(&first.place()).unwrap();
            assert_eq!(second.share(), first.share());
            assert_eq!(all(second), whole[start..], "{start}");
        }
    }

    #[test]
    fn a_book_goes_on_as_another_document() {
        let text: String = (0..10_000)
            .map(|i| format!("Sentence number {i}.\n"))
            .collect();
        let (_dir, corpus) = corpus(&[("book.txt", &text)]);
        let documents = all(corpus.documents(None, 0));
        assert!(documents.len() > 2);
        assert_eq!(documents.iter().map(Vec::len).sum::<usize>(), 10_000);
    }

    #[test]
    fn a_folder_without_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let message = Corpus::open(&[dir.path()]).unwrap_err().to_string();
        assert!(
            message.ends_with("expected text files (.txt, .gz, .zst), found none"),
            "{message}"
        );
    }
}
