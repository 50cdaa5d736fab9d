//! A file that could not be written to its end, as on a full disk, cut to the rows that are whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Returns the beginning of a file for a number of rows.
pub(super) type Start = Box<dyn Fn(usize) -> anyhow::Result<Vec<u8>>>;

/// The way to make a readable file of the rows that it holds.
pub(super) enum Salvage {
    /// Cut after a row, and add this.
    Rows { end: &'static [u8] },
    /// Rows of one length after a beginning that has their number.
    Matrix { start: Start, row_bytes: usize },
    /// None: the format, Parquet, has its index at the end.
    #[cfg(any(feature = "parquet", test))]
    Never,
}

/// The ends of rows in a file.
#[derive(Default)]
pub(super) struct RowEnds {
    /// The bytes handed over.
    position: u64,
    /// Ends after which nothing is known to be on the disk, and the last one before them, each with
    /// the number of rows up to it.
    ends: VecDeque<(u64, usize)>,
}

impl RowEnds {
    /// Begins after rows that a file holds already.
    pub(super) fn after(bytes: u64, rows: usize) -> Self {
        Self {
            position: bytes,
            ends: VecDeque::from([(bytes, rows)]),
        }
    }

    /// Counts bytes that are handed over.
    pub(super) fn written(&mut self, bytes: usize) {
        self.position += bytes as u64;
    }

    /// Notes that rows end here.
    pub(super) fn end_rows(&mut self, rows: usize) {
        let before = self.ends.back().map_or(0, |end| end.1);
        self.ends.push_back((self.position, before + rows));
    }

    /// Notes that all bytes so far are on the disk.
    pub(super) fn flushed(&mut self) {
        let last = self.ends.len().saturating_sub(1);
        self.ends.drain(..last);
    }
}

impl Salvage {
    /// Cuts a file to its whole rows and completes it. Returns their number; `None` if the file
    /// cannot be read.
    ///
    /// # Errors
    /// If the file cannot be cut, or there is no room even for its end.
    pub(super) fn apply(&self, file: &mut File, rows: &RowEnds) -> anyhow::Result<Option<usize>> {
        let length = file.metadata()?.len();
        match self {
            #[cfg(any(feature = "parquet", test))]
            Self::Never => Ok(None),
            Self::Matrix { start, row_bytes } => {
                let start_bytes = start(0)?.len() as u64;
                let row_bytes = (*row_bytes).max(1) as u64;
                let rows = length.saturating_sub(start_bytes) / row_bytes;
                file.set_len(start_bytes + rows * row_bytes)?;
                file.seek(SeekFrom::Start(0))?;
                let rows = usize::try_from(rows)?;
                file.write_all(&start(rows)?)?;
                Ok(Some(rows))
            }
            Self::Rows { end } => {
                let whole = rows.ends.iter().rev();
                for &(at, rows) in whole.filter(|(at, _)| *at <= length) {
                    file.set_len(at)?;
                    file.seek(SeekFrom::Start(at))?;
                    if rows == 0 || file.write_all(end).is_ok() {
                        return Ok(Some(rows));
                    }
                }
                Err(io::Error::from(io::ErrorKind::StorageFull).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this content, of which rows end at these bytes.
    fn salvaged(salvage: &Salvage, content: &[u8], ends: &[u64]) -> (Option<usize>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, content).unwrap();
        let mut rows = RowEnds::default();
        for &end in ends {
            rows.position = end;
            rows.end_rows(1);
        }
        let mut file = File::options().write(true).open(&path).unwrap();
        let count = salvage.apply(&mut file, &rows).unwrap();
        (count, std::fs::read(&path).unwrap())
    }

    #[test]
    fn a_file_is_cut_after_its_last_whole_row_and_completed() {
        let json = Salvage::Rows { end: b"]" };
        let (rows, content) = salvaged(&json, b"[11,22,3", &[3, 6, 9, 12]);
        assert_eq!((rows, &content[..]), (Some(2), &b"[11,22]"[..]));
    }

    #[test]
    fn a_matrix_has_the_number_of_its_rows() {
        let matrix = Salvage::Matrix {
            start: Box::new(|rows| Ok(vec![rows as u8; 2])),
            row_bytes: 3,
        };
        let (rows, content) = salvaged(&matrix, b"..abcdefg", &[]);
        assert_eq!((rows, &content[..]), (Some(2), &b"\x02\x02abcdef"[..]));
        let (rows, _) = salvaged(&Salvage::Never, b"..", &[]);
        assert_eq!(rows, None);
    }

    #[test]
    fn ends_that_are_on_the_disk_are_forgotten_but_for_the_last() {
        let mut rows = RowEnds::after(10, 2);
        rows.written(5);
        rows.end_rows(1);
        rows.flushed();
        rows.written(5);
        rows.end_rows(3);
        assert_eq!(rows.ends, [(15, 3), (20, 6)]);
    }
}
