//! The memory that reading takes: what one record needs, however many there are.

#[path = "../../albert-model/tests/support/counting.rs"]
mod counting;

use std::io::Write;
use std::path::Path;

use albert_data::{Field, Format, Kind, RecordReader, Selection, Source};
use counting::{Counting, peak};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// Buffers, the decoder of gzip, names: all that does not depend on the content.
const FIXED_BYTES: usize = MIB;

/// A text that grows is copied into twice the room; and JSON is a line before it is a text.
const COPIES: usize = 4;

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// Reads the field `text` of a file to its end or its first error, and returns the number of
/// records and that error.
fn read(path: &Path, format: Format) -> (usize, Option<String>) {
    let selection = Selection::new([Field::from_name("text")], Kind::Text);
    let source = Source::from_file(path).unwrap();
    let mut count = 0;
    for record in RecordReader::open(source, format, selection).unwrap() {
        match record {
            Ok(record) => drop(record.values.unwrap()),
            Err(error) => return (count, Some(format!("{error:#}"))),
        }
        count += 1;
    }
    (count, None)
}

/// A file of a format with this text in so many records.
fn content(format: Format, text: &str, records: usize) -> Vec<u8> {
    let (header, before, after) = match format {
        Format::Csv => ("id,text\n", "1,\"", "\"\n"),
        Format::Tsv => ("id\ttext\n", "1\t", "\n"),
        Format::Jsonl => ("", "{\"id\":[1,2],\"text\":\"", "\"}\n"),
        _ => ("", "", "\n"),
    };
    let record = [before, text, after].concat();
    [header.to_string(), record.repeat(records)]
        .concat()
        .into_bytes()
}

const FORMATS: [Format; 4] = [Format::Lines, Format::Jsonl, Format::Csv, Format::Tsv];

#[test]
fn memory_does_not_depend_on_the_number_of_records() {
    for format in FORMATS {
        let content = content(format, "a text of some length", 100_000);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&content).unwrap();
        for content in [content, encoder.finish().unwrap()] {
            let file = file(&content);
            let (found, bytes) = peak(|| read(file.path(), format));
            assert_eq!(found, (100_000, None), "{format}");
            assert!(bytes < FIXED_BYTES, "{format}: {bytes} bytes");
        }
    }
}

#[test]
fn a_long_text_takes_a_few_times_its_length() {
    const LENGTH: usize = 16 * MIB;
    for format in FORMATS {
        let file = file(&content(format, &"x".repeat(LENGTH), 1));
        let (found, bytes) = peak(|| read(file.path(), format));
        assert_eq!(found, (1, None), "{format}");
        assert!(
            bytes < COPIES * LENGTH + FIXED_BYTES,
            "{format}: {bytes} bytes"
        );
    }
}

#[test]
fn a_header_without_an_end_takes_little_memory() {
    // Within twice the limit of a header and its growth.
    const LIMIT: usize = 8 * MIB;
    for names in [
        ",".repeat(32 * MIB),
        "a long name,".repeat(3 * MIB),
        "x".repeat(32 * MIB),
    ] {
        let file = file(names.as_bytes());
        let ((count, error), bytes) = peak(|| read(file.path(), Format::Csv));
        let error = error.unwrap();
        assert!(
            count == 0 && error.contains("bytes in the header"),
            "{error}"
        );
        assert!(bytes < LIMIT, "{bytes} bytes");
    }
}

#[test]
fn a_line_without_an_end_is_refused() {
    // The limit, in a buffer that has grown by doubling.
    const LIMIT: usize = 3 * 128 * MIB;
    let file = file("x".repeat(80 * MIB).as_bytes());
    for format in [Format::Lines, Format::Jsonl] {
        let ((_, error), bytes) = peak(|| read(file.path(), format));
        assert!(
            error
                .unwrap()
                .contains("expected at most 67108864 bytes in a line")
        );
        assert!(bytes < LIMIT, "{bytes} bytes");
    }
}
