//! Arrow IPC files and streams.
//!
//! A file is a stream between a magic number and a footer, so both are read sequentially, even from
//! a pipe. The footer shows that a file is complete; the end mark shows the same for a stream,
//! although some writers omit it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::error::{Context, ErrorKind, bail, error};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{Endianness, root_as_footer, root_as_message};

use super::{Batches, contained, interrupted, until_error};
use crate::compression::Bytes;
use crate::content::Content;
use crate::notes::Notes;
use crate::source::Opened;

/// The last bytes of an Arrow IPC file.
const FILE_END: &[u8; 6] = b"ARROW1";

/// The maximum length of a schema that is read ahead, and of a footer.
const MAX_METADATA_BYTES: usize = 256 << 20;

/// The reaction to a stream without its end mark.
#[derive(Debug, Clone)]
pub(crate) enum OpenEnd {
    /// A stream that may be complete, with a remark.
    Note(Notes),
    /// An error.
    Refused,
}

impl Batches {
    /// Reads an Arrow IPC stream or file.
    ///
    /// # Errors
    /// If it is neither, broken, or a file without its footer.
    pub(crate) fn arrow(opened: Opened, open_end: OpenEnd) -> crate::Result<Self> {
        let name = Arc::clone(&opened.name);
        if opened.is_empty() {
            return match open_end {
                OpenEnd::Note(_) => Ok(Self::empty(name)),
                OpenEnd::Refused => Err(interrupted(&name, "an Arrow IPC file or stream")),
            };
        }
        if let Content::Foreign { name: found, hint } = opened.content {
            let error = error!("{name}: expected Arrow IPC, found {found}");
            return Err(error.with_kind(ErrorKind::Foreign(hint)));
        }
        let is_file = opened.content == Content::ArrowFile;
        if is_file && let Some(file) = opened.file() {
            expect_file_end(file, &name)?;
        }
        let cannot_read = || format!("cannot read {name}");
        let mut reader = opened.into_bytes();
        let mut start = read_up_to(&mut reader, 8).with_context(cannot_read)?;
        if is_file {
            // Zeros follow the magic number, for alignment.
            start = read_up_to(&mut reader, 8).with_context(cannot_read)?;
            while start == [0; 8] {
                start = read_up_to(&mut reader, 8).with_context(cannot_read)?;
            }
        }
        read_schema(&mut start, &mut reader).with_context(cannot_read)?;
        expect_little_endian(&start).with_context(|| name.to_string())?;
        let stream = Watched {
            reader: Cursor::new(start).chain(reader),
            bytes: 0,
            is_at_end: false,
        };
        let stream = contained(|| StreamReader::try_new(stream, None))
            .with_context(|| format!("{name}: expected an Arrow IPC file or stream"))?;
        let schema = Some(stream.schema());
        let batches = Stream {
            stream,
            is_file,
            batches: 0,
            open_end,
            name: Arc::clone(&name),
        };
        Ok(Self {
            schema,
            batches: Box::new(until_error(batches)),
            name,
        })
    }
}

/// Checks the end of a file before anything is read.
fn expect_file_end(mut file: &File, name: &str) -> crate::Result<()> {
    let mut read = || -> io::Result<Vec<u8>> {
        let position = file.stream_position()?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(
            length.saturating_sub(FILE_END.len() as u64),
        ))?;
        let end = read_up_to(&mut file, FILE_END.len())?;
        file.seek(SeekFrom::Start(position))?;
        Ok(end)
    };
    let end = read().with_context(|| format!("cannot read {name}"))?;
    if end == FILE_END {
        Ok(())
    } else {
        Err(interrupted(name, "the footer of an Arrow IPC file"))
    }
}

fn read_up_to(reader: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the length of a message's metadata and its start: older streams have no mark before the
/// length.
fn metadata(start: &[u8]) -> Option<(usize, usize)> {
    let word = |at: usize| Some(i32::from_le_bytes(start.get(at..at + 4)?.try_into().ok()?));
    let (length, from) = match word(0)? {
        -1 => (word(4)?, 8),
        length => (length, 4),
    };
    let length = usize::try_from(length).ok()?;
    (length <= MAX_METADATA_BYTES).then_some((length, from))
}

/// Appends the rest of the first message's metadata, which is the schema, to its first bytes.
fn read_schema(start: &mut Vec<u8>, reader: &mut impl Read) -> io::Result<()> {
    if let Some((length, from)) = metadata(start) {
        let missing = (from + length).saturating_sub(start.len());
        start.extend(read_up_to(reader, missing)?);
    }
    Ok(())
}

/// Checks that values are little-endian, because lengths of strings would be misread otherwise. The
/// reader checks the rest of the schema.
fn expect_little_endian(start: &[u8]) -> crate::Result<()> {
    let message = metadata(start).and_then(|(length, from)| start.get(from..from + length));
    let Some(Ok(message)) = message.map(root_as_message) else {
        return Ok(());
    };
    let schema = message.header_as_schema();
    if schema.is_some_and(|schema| schema.endianness() == Endianness::Big) {
        Err(
            error!("expected little-endian values, found big-endian ones").with_kind(
                ErrorKind::Advised("write it again on a little-endian machine, or as Parquet"),
            ),
        )
    } else {
        Ok(())
    }
}

/// The bytes of a stream, starting with those that identified its format.
type StreamBytes = io::Chain<Cursor<Vec<u8>>, BufReader<Bytes>>;

/// The batches of a stream, and a check of its end.
struct Stream {
    stream: StreamReader<Watched<StreamBytes>>,
    is_file: bool,
    /// The number of batches read.
    batches: usize,
    open_end: OpenEnd,
    name: Arc<str>,
}

impl Iterator for Stream {
    type Item = crate::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = contained(|| self.stream.next().transpose());
        match batch.with_context(|| format!("cannot read {}", self.name)) {
            Ok(Some(batch)) => {
                self.batches += 1;
                Some(Ok(batch))
            }
            Ok(None) => self.check_end().err().map(Err),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Stream {
    fn check_end(&mut self) -> crate::Result<()> {
        let name = Arc::clone(&self.name);
        let cannot_read = || format!("cannot read {name}");
        let watched = self.stream.get_mut();
        if watched.is_at_end {
            // Messages are padded to eight bytes, so a partial one means truncation.
            if self.is_file || !watched.bytes.is_multiple_of(8) {
                return Err(interrupted(&name, "the end mark of an Arrow IPC stream"));
            }
            return match &self.open_end {
                OpenEnd::Note(notes) => {
                    notes.add(format!(
                        "{name} has no end mark: the stream may be truncated"
                    ));
                    Ok(())
                }
                OpenEnd::Refused => Err(interrupted(&name, "the end mark of an Arrow IPC stream")),
            };
        }
        let (_, reader) = watched.reader.get_mut();
        if self.is_file {
            let footer = read_up_to(reader, MAX_METADATA_BYTES).with_context(cannot_read)?;
            return self.check_footer(&footer);
        }
        if !reader.fill_buf().with_context(cannot_read)?.is_empty() {
            bail!(
                "{name}: expected the end of the file after the end of the Arrow IPC stream, found more bytes"
            );
        }
        Ok(())
    }

    /// Compares the footer's number of batches with the number read, because a block of zeros looks
    /// like the end of a stream.
    fn check_footer(&self, bytes: &[u8]) -> crate::Result<()> {
        let cut = || interrupted(&self.name, "the footer of an Arrow IPC file");
        let rest = bytes.strip_suffix(FILE_END).ok_or_else(cut)?;
        let (rest, length) = rest.split_last_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).ok();
        let footer = length.and_then(|length| rest.get(rest.len().checked_sub(length)?..));
        let footer = footer.and_then(|footer| root_as_footer(footer).ok());
        let expected = footer
            .ok_or_else(|| error!("{}: the footer of the Arrow IPC file is damaged", self.name))?
            .recordBatches()
            .map_or(0, |batches| batches.len());
        let found = self.batches;
        if expected != found {
            bail!(
                "{}: expected {expected} record batches, found {found}",
                self.name
            );
        }
        Ok(())
    }
}

/// A reader that sees whether its end was reached.
struct Watched<R> {
    reader: R,
    bytes: u64,
    is_at_end: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        self.is_at_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use arrow_ipc::{Field, MessageBuilder, MessageHeader, MetadataVersion, SchemaBuilder};
    use flatbuffers::{FlatBufferBuilder, WIPOffset};

    use super::*;

    /// The first message of a stream: a schema without fields.
    fn schema(endianness: Endianness) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let fields = builder.create_vector::<WIPOffset<Field<'_>>>(&[]);
        let mut schema = SchemaBuilder::new(&mut builder);
        schema.add_endianness(endianness);
        schema.add_fields(fields);
        let schema = schema.finish().as_union_value();
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(MessageHeader::Schema);
        message.add_header(schema);
        let message = message.finish();
        builder.finish(message, None);
        let metadata = builder.finished_data();
        let length = (metadata.len() as i32).to_le_bytes();
        [&[0xff; 4], &length[..], metadata].concat()
    }

    #[test]
    fn big_endian_values_are_refused_by_name() {
        expect_little_endian(&schema(Endianness::Little)).unwrap();
        let big = schema(Endianness::Big);
        let without_mark = &big[4..];
        for start in [&big[..], without_mark] {
            let error = format!("{:#}", expect_little_endian(start).unwrap_err());
            assert!(error.contains("found big-endian ones"), "{error}");
        }
        for length in 0..big.len() {
            // Left to the reader.
            expect_little_endian(&big[..length]).unwrap();
        }
    }

    #[test]
    fn metadata_lies_after_its_length_with_a_mark_or_without() {
        assert_eq!(
            metadata(&[0xff, 0xff, 0xff, 0xff, 16, 0, 0, 0]),
            Some((16, 8))
        );
        assert_eq!(metadata(&[16, 0, 0, 0, 1, 2, 3, 4]), Some((16, 4)));
        assert_eq!(metadata(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(metadata(&[0, 0, 0, 0x80]), None);
        assert_eq!(
            metadata(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            None
        );
    }
}
