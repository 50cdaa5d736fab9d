//! Reads several files as one: named files, and the files of a folder of shards.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Format, Reader};
use crate::error::{Context, bail};

/// The files of an input in the order in which they are read.
#[derive(Debug)]
pub struct Shards {
    paths: Vec<PathBuf>,
    /// Their length in bytes, if all of them have one.
    length: Option<u64>,
}

impl Shards {
    /// Finds the files. A folder is replaced by its files in the order of their names, without
    /// hidden files and names that begin with `_`, which tools such as Spark write next to the
    /// rows. `-` is standard input.
    ///
    /// # Errors
    /// If a file or folder cannot be opened, or a folder holds no files.
    pub fn find(paths: &[PathBuf]) -> crate::Result<Self> {
        let mut found = Vec::new();
        let mut length = Some(0);
        for path in paths {
            if path.as_os_str() == "-" {
                length = None;
                found.push(path.clone());
                continue;
            }
            let name = path.display();
            let metadata = fs::metadata(path).with_context(|| format!("cannot open `{name}`"))?;
            if !metadata.is_dir() {
                length = add_length(length, &metadata);
                found.push(path.clone());
                continue;
            }
            let files = files(path)?;
            if files.is_empty() {
                bail!("cannot read `{name}`: expected a folder with files, found none in it");
            }
            for (file, metadata) in files {
                length = add_length(length, &metadata);
                found.push(file);
            }
        }
        Ok(Self {
            paths: found,
            length,
        })
    }

    /// Returns the files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads the files one after another, each in its format. The first is opened immediately, the
    /// others when they are needed.
    ///
    /// # Errors
    /// If the first cannot be opened.
    pub fn read(
        self,
        formats: Vec<Format>,
        open: impl Fn(&Path, Format) -> crate::Result<Reader> + Send + 'static,
    ) -> crate::Result<Reader> {
        let mut files = self.paths.into_iter().zip(formats);
        let Some((path, format)) = files.next() else {
            return Ok(Reader::from_lines(Vec::new()));
        };
        let first = open(&path, format)?;
        if files.len() == 0 {
            return Ok(first);
        }
        let rest = files.map(move |(path, format)| open(&path, format));
        Ok(first.chain_readers(rest, self.length))
    }
}

fn add_length(length: Option<u64>, metadata: &fs::Metadata) -> Option<u64> {
    Some(length? + metadata.is_file().then_some(metadata.len())?)
}

/// Returns the files of a folder in the order of their names.
fn files(folder: &Path) -> crate::Result<Vec<(PathBuf, fs::Metadata)>> {
    let cannot_read = || format!("cannot read `{}`", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let entry = entry.with_context(cannot_read)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".")
            || entry.file_name().as_encoded_bytes().starts_with(b"_")
        {
            continue;
        }
        let path = entry.path();
        let metadata = fs::metadata(&path).with_context(cannot_read)?;
        if metadata.is_dir() {
            bail!(
                "{}: expected only files in it, found the folder `{}`",
                cannot_read(),
                path.display()
            );
        }
        files.push((path, metadata));
    }
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(shards: &Shards) -> Vec<String> {
        shards
            .paths()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_folder_is_its_files_in_order_without_marks_and_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["part-1", "part-0", "_SUCCESS", "._SUCCESS.crc", ".hidden"] {
            fs::write(folder.path().join(name), "ab").unwrap();
        }
        let shards = Shards::find(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(names(&shards), ["part-0", "part-1"]);
        assert_eq!(shards.length, Some(4));
        let with_stdin = [folder.path().to_path_buf(), PathBuf::from("-")];
        let shards = Shards::find(&with_stdin).unwrap();
        assert_eq!(names(&shards), ["part-0", "part-1", "-"]);
        assert_eq!(shards.length, None);
    }

    #[test]
    fn a_folder_without_files_and_one_of_folders_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let find = || Shards::find(&[folder.path().to_path_buf()]);
        assert!(find().unwrap_err().to_string().contains("found none"));
        fs::create_dir(folder.path().join("en")).unwrap();
        let error = format!("{:#}", find().unwrap_err());
        assert!(error.contains("found the folder"), "{error}");
    }
}
