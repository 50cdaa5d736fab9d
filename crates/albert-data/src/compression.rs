//! Decompresses gzip and Zstandard.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::content::{Content, recognize};

/// Bytes from beginning to end.
pub(crate) type Bytes = Box<dyn Read + Send>;

/// Decompresses a source, including all of its members or frames.
///
/// # Errors
/// If the beginning cannot be read, or there is no memory for the decoder.
pub fn decompress(
    mut reader: impl BufRead + Send + 'static,
) -> io::Result<(Box<dyn Read + Send>, bool)> {
    let content = recognize(reader.fill_buf()?);
    let is_compressed = matches!(content, Content::Gzip | Content::Zstandard);
    Ok((decoded(reader, content)?, is_compressed))
}

/// Decompresses a source that is compressed.
///
/// # Errors
/// If there is no memory for the decoder.
pub(crate) fn decompressed(reader: Bytes, content: Content) -> io::Result<Bytes> {
    decoded(BufReader::with_capacity(1 << 16, reader), content)
}

fn decoded(reader: impl BufRead + Send + 'static, content: Content) -> io::Result<Bytes> {
    Ok(match content {
        Content::Gzip => Box::new(Decompressed(MultiGzDecoder::new(reader))),
        Content::Zstandard => Box::new(Decompressed(zstd::Decoder::with_buffer(reader)?)),
        _ => Box::new(reader),
    })
}

/// A decoder that reports a truncated source as an error.
struct Decompressed<R>(R);

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::InvalidData,
                "the compressed data is truncated",
            ),
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>, content: Content) -> io::Result<String> {
        let mut text = String::new();
        decompressed(Box::new(io::Cursor::new(bytes)), content)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn every_member_and_frame_is_read() {
        let members = [gzip("one\n"), gzip("two\n")].concat();
        assert_eq!(read(members, Content::Gzip).unwrap(), "one\ntwo\n");
        let frame = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        let frames = [frame("one\n"), frame("two\n")].concat();
        assert_eq!(read(frames, Content::Zstandard).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn data_that_is_cut_short_is_an_error_and_no_end() {
        let text = "a line of text\n".repeat(100);
        let frame = zstd::encode_all(text.as_bytes(), 1).unwrap();
        for (whole, content) in [(gzip(&text), Content::Gzip), (frame, Content::Zstandard)] {
            for end in [5, whole.len() / 2, whole.len() - 1] {
                let error = read(whole[..end].to_vec(), content).unwrap_err();
                assert_eq!(
                    error.kind(),
                    io::ErrorKind::InvalidData,
                    "{content:?} {end}"
                );
            }
        }
    }
}
