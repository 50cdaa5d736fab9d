//! The source of records: a file or standard input, compressed or not.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Format;
use crate::compression::{Bytes, decompressed};
use crate::content::{Content, peek};
use crate::error::{Context, bail};

/// A file or standard input, open.
pub struct Source {
    origin: Origin,
    /// Its name, for messages.
    name: Arc<str>,
    /// Its length in bytes, if it is known.
    length: Option<u64>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// The origin of the bytes.
enum Origin {
    File(File),
    Stdin(io::Stdin),
}

impl Source {
    /// Returns standard input.
    pub fn stdin() -> Self {
        Self {
            origin: Origin::Stdin(io::stdin()),
            name: "standard input".into(),
            length: None,
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened, or is a folder.
    pub fn from_file(path: &Path) -> crate::Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
        let metadata = file
            .metadata()
            .with_context(|| format!("cannot open `{name}`"))?;
        if metadata.is_dir() {
            bail!("cannot read `{name}`: expected a file, found a folder");
        }
        Ok(Self {
            origin: Origin::File(file),
            name: format!("`{name}`").into(),
            length: metadata.is_file().then_some(metadata.len()),
        })
    }

    /// Returns the format of a regular file if its content identifies it, whatever its name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn recognized_format(&self) -> crate::Result<Option<Format>> {
        Ok(match self.content()? {
            Some(Content::Parquet) => Some(Format::Parquet),
            Some(Content::ArrowFile | Content::ArrowStream) => Some(Format::Arrow),
            _ => None,
        })
    }

    /// Returns the format of a regular file's content, once decompressed.
    fn content(&self) -> crate::Result<Option<Content>> {
        let (Origin::File(file), Some(_)) = (&self.origin, self.length) else {
            return Ok(None);
        };
        let content = || -> io::Result<Content> {
            let mut copy = file.try_clone()?;
            let (_, content) = peek(&mut copy)?;
            copy.rewind()?;
            let content = match content {
                Content::Gzip | Content::Zstandard => {
                    let copy = Box::new(file.try_clone()?);
                    // Damage is reported when the file is read.
                    peek(&mut decompressed(copy, content)?).map_or(content, |(_, content)| content)
                }
                content => content,
            };
            // The copies share their position with the file.
            file.try_clone()?.rewind()?;
            Ok(content)
        };
        let content = content().with_context(|| format!("cannot read {}", self.name))?;
        Ok(Some(content))
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Starts reading, through decompression. `bytes_read` counts the source's own bytes.
    pub(crate) fn open(self, bytes_read: Arc<AtomicU64>) -> crate::Result<Opened> {
        let Self {
            origin,
            name,
            length,
            ..
        } = self;
        let open = || -> io::Result<(Content, Vec<u8>, Bytes, Option<File>)> {
            let (reader, file): (Bytes, _) = match origin {
                Origin::File(file) => {
                    let copy = length.map(|_| file.try_clone()).transpose()?;
                    (Box::new(file), copy)
                }
                Origin::Stdin(stdin) => (Box::new(stdin), None),
            };
            let mut reader: Bytes = Box::new(Counted {
                reader,
                bytes: bytes_read,
            });
            let (head, content) = peek(&mut reader)?;
            if !matches!(content, Content::Gzip | Content::Zstandard) {
                return Ok((content, head, reader, file));
            }
            let compressed = Box::new(Cursor::new(head).chain(reader));
            let mut reader = decompressed(compressed, content)?;
            let (head, content) = peek(&mut reader)?;
            Ok((content, head, reader, None))
        };
        let opened = open().with_context(|| format!("cannot read {name}"))?;
        let (content, head, reader, file) = opened;
        Ok(Opened {
            name,
            content,
            head,
            reader,
            file,
        })
    }
}

/// A source that is being read.
pub(crate) struct Opened {
    pub(crate) name: Arc<str>,
    pub(crate) content: Content,
    /// The first bytes, which `reader` has given already.
    head: Vec<u8>,
    reader: Bytes,
    /// The regular file that is read as it is.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code))]
    file: Option<File>,
}

impl Opened {
    /// Returns true if there are no bytes.
    #[cfg(feature = "parquet")]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Returns the text after its byte order mark.
    ///
    /// # Errors
    /// If the content is not text.
    pub(crate) fn into_text(mut self) -> crate::Result<BufReader<Bytes>> {
        let from = self.content.expect_text(&self.name)?;
        self.head.drain(..from);
        Ok(self.into_bytes())
    }

    /// Returns all of the bytes.
    pub(crate) fn into_bytes(self) -> BufReader<Bytes> {
        let reader = Cursor::new(self.head).chain(self.reader);
        BufReader::with_capacity(1 << 16, Box::new(reader))
    }

    /// Returns a file in which a reader can seek: the source itself, or a temporary copy.
    ///
    /// # Errors
    /// If reading fails, or there is no room for the copy.
    #[cfg(feature = "parquet")]
    pub(crate) fn into_file(mut self) -> crate::Result<File> {
        if let Some(mut file) = self.file.take() {
            let name = &self.name;
            file.rewind()
                .with_context(|| format!("cannot read {name}"))?;
            return Ok(file);
        }
        let name = Arc::clone(&self.name);
        let copy = || -> io::Result<File> {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut self.into_bytes(), &mut file)?;
            file.rewind()?;
            Ok(file)
        };
        copy()
            .with_context(|| format!("cannot copy {name} to a temporary file, which parquet needs"))
    }

    /// Returns the regular file that is read as it is.
    #[cfg(feature = "parquet")]
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }
}

/// Counts the bytes that pass, for a progress bar.
struct Counted<R> {
    reader: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
