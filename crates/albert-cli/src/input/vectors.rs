//! Embeddings that `embed` saved, row by row: `npy`, `jsonl` or `csv`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use csv::StringRecord;
use serde::Deserialize;

use super::lines::{RawLines, utf8};
use crate::failure::{Hint, usage};

/// One row: the embedding, and the text where the file has it. `None` is a row that `embed` wrote for a
/// bad line.
pub(crate) type VectorRow = Option<(Vec<f32>, Option<String>)>;

/// The rows of a file of embeddings.
pub(crate) struct Vectors {
    rows: Box<dyn Iterator<Item = anyhow::Result<VectorRow>>>,
}

impl Vectors {
    /// Opens a file by its ending.
    ///
    /// # Errors
    /// If the ending is none that `embed` writes, the file cannot be opened, or it is not what its
    /// ending says.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let known = matches!(ending.as_deref(), Some("npy" | "jsonl" | "ndjson" | "csv"));
        if !known {
            return Err(usage(format!(
                "`{name}`: expected a file of embeddings that ends in npy, jsonl or csv"
            ))
            .hint("`albert-cli embed --input FILE --output corpus.npy` makes one"));
        }
        let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
        let length = file.metadata().with_context(|| format!("cannot open `{name}`"))?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        let name: Arc<str> = format!("`{name}`").into();
        let rows: Box<dyn Iterator<Item = _>> = match ending.as_deref() {
            Some("npy") => Box::new(Npy::open(reader, length, name)?),
            Some("csv") => Box::new(csv_rows(reader, name)?),
            _ => Box::new(json_rows(reader, name)),
        };
        Ok(Self { rows })
    }
}

impl Iterator for Vectors {
    type Item = anyhow::Result<VectorRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// A NumPy array of f32, shape (rows, dim).
struct Npy<R> {
    reader: R,
    name: Arc<str>,
    left: usize,
    dim: usize,
}

impl<R: Read> Npy<R> {
    fn open(mut reader: R, length: u64, name: Arc<str>) -> anyhow::Result<Self> {
        let mut start = [0; 10];
        let not_npy = || anyhow!("{name}: expected a NumPy array");
        reader.read_exact(&mut start).map_err(|_| not_npy())?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err(not_npy());
        }
        let mut header_bytes = u64::from(u16::from_le_bytes([start[8], start[9]]));
        let mut data_from = 10 + header_bytes;
        if start[6] > 1 {
            // From version 2 on the length has four bytes.
            let mut high = [0; 2];
            reader.read_exact(&mut high).map_err(|_| not_npy())?;
            header_bytes |= u64::from(u16::from_le_bytes(high)) << 16;
            data_from = 12 + header_bytes;
        }
        let mut header = Vec::new();
        reader.by_ref().take(header_bytes.min(length)).read_to_end(&mut header)?;
        let header = String::from_utf8_lossy(&header);
        let expected = "expected an array of little-endian f32 in rows, as `embed` writes it";
        let (rows, dim) =
            shape(&header).ok_or_else(|| anyhow!("{name}: {expected}, found {}", header.trim()))?;
        let bytes = rows.checked_mul(dim).and_then(|count| count.checked_mul(4));
        let found = length.saturating_sub(data_from);
        if bytes.is_none_or(|bytes| bytes as u64 != found) {
            let error = anyhow!("{name}: expected {rows} rows of {dim} numbers, found {found} bytes");
            return Err(error.hint("the run that wrote it was interrupted: run it again"));
        }
        Ok(Self { reader, name, left: rows, dim })
    }

    fn row(&mut self) -> anyhow::Result<VectorRow> {
        let mut bytes = vec![0; self.dim * 4];
        self.reader.read_exact(&mut bytes).with_context(|| format!("cannot read {}", self.name))?;
        let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(Some((bytes.chunks_exact(4).map(value).collect(), None)))
    }
}

impl<R: Read> Iterator for Npy<R> {
    type Item = anyhow::Result<VectorRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.row())
    }
}

/// Rows and columns of a header such as `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn shape(header: &str) -> Option<(usize, usize)> {
    let squeezed: String = header.split_whitespace().collect();
    if !squeezed.contains("'descr':'<f4'") || !squeezed.contains("'fortran_order':False") {
        return None;
    }
    let (_, rest) = squeezed.split_once("'shape':(")?;
    let (rows, dim) = rest.split_once(')')?.0.split_once(',')?;
    Some((rows.parse().ok()?, dim.parse().ok()?))
}

/// The part of a jsonl row that matters here.
#[derive(Deserialize)]
struct JsonRow {
    text: Option<String>,
    embedding: Option<Vec<f32>>,
    error: Option<String>,
}

fn json_rows<R: BufRead + 'static>(
    reader: R,
    name: Arc<str>,
) -> impl Iterator<Item = anyhow::Result<VectorRow>> {
    let row = |bytes: Vec<u8>| -> anyhow::Result<VectorRow> {
        let row: JsonRow = serde_json::from_str(&utf8(bytes)?).context("expected a row of `embed`")?;
        match (row.embedding, row.error) {
            (Some(vector), _) => Ok(Some((vector, row.text))),
            (None, Some(_)) => Ok(None),
            (None, None) => bail!("no field `embedding`"),
        }
    };
    RawLines::new(reader, name)
        .filter(|line| !line.as_ref().is_ok_and(|(_, bytes)| bytes.iter().all(u8::is_ascii_whitespace)))
        .map(move |line| {
            let (place, bytes) = line?;
            row(bytes).map_err(|error| place.locate(error))
        })
}

fn csv_rows<R: Read + 'static>(
    reader: R,
    name: Arc<str>,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<VectorRow>>> {
    let mut reader = csv::Reader::from_reader(reader);
    let header = reader.headers().with_context(|| format!("cannot read {name}"))?;
    let column = |field: &str| header.iter().position(|name| name == field);
    let Some(embedding) = column("embedding") else { bail!("{name}, line 1: no field `embedding`") };
    let (text, error) = (column("text"), column("error"));
    let row = move |record: &StringRecord| -> anyhow::Result<VectorRow> {
        let cell = |column: usize| record.get(column).unwrap_or_default();
        if cell(embedding).is_empty() && error.is_some_and(|error| !cell(error).is_empty()) {
            return Ok(None);
        }
        let vector = serde_json::from_str(cell(embedding)).context("field `embedding`: expected numbers")?;
        Ok(Some((vector, text.map(|text| cell(text).to_string()))))
    };
    Ok(reader.into_records().map(move |record| {
        let record = record.with_context(|| format!("cannot read {name}"))?;
        let line = record.position().map_or(0, csv::Position::line);
        row(&record).with_context(|| format!("{name}, line {line}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as `embed` writes it, with other rows in the header.
    fn npy(header: &str, values: &[f32]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
        let rows =
            Npy::open(bytes, bytes.len() as u64, "`a`".into()).map_err(|error| format!("{error:#}"))?;
        Ok(rows.map(|row| row.unwrap().unwrap().0).collect())
    }

    #[test]
    fn an_array_is_read_row_by_row() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";
        let rows = read(&npy(header, &[1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN])).unwrap();
        assert_eq!(rows[0], [1.0, 2.0, 3.0]);
        assert!(rows[1][2].is_nan() && rows.len() == 2);
    }

    #[test]
    fn an_array_of_another_kind_or_length_is_refused() {
        let header =
            |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        for (header, values) in [
            (header("(2, 3)"), 5),
            (header("(0, 3)"), 3),
            (header("(99999999999, 99999999999)"), 3),
            (header("(3,)"), 3),
            (header("(1, 3)").replace("<f4", "<f8"), 3),
            (header("(1, 3)").replace("False", "True"), 3),
        ] {
            assert!(read(&npy(&header, &vec![0.0; values])).is_err(), "{header}");
        }
        for bytes in [&b""[..], b"\x93NUMPY", b"not an array at all", b"\x93NUMPY\x02\x00\xff\xff"] {
            assert!(read(bytes).is_err());
        }
    }

    #[test]
    fn rows_of_jsonl_have_their_text_and_bad_rows_none() {
        let text =
            "{\"text\":\"a\",\"embedding\":[0.5]}\n\n{\"index\":1,\"error\":\"bad\"}\n{\"text\":\"b\"}\n";
        let rows: Vec<_> = json_rows(text.as_bytes(), "`a`".into()).collect();
        assert_eq!(rows[0].as_ref().unwrap(), &Some((vec![0.5], Some("a".to_string()))));
        assert_eq!(rows[1].as_ref().unwrap(), &None);
        assert_eq!(format!("{:#}", rows[2].as_ref().unwrap_err()), "`a`, line 4: no field `embedding`");
    }

    #[test]
    fn rows_of_csv_have_their_numbers_in_one_cell() {
        let text = "index,text,embedding,error\n0,a,\"[0.5,1]\",\n1,,,bad\n2,c,x,\n";
        let rows: Vec<_> = csv_rows(text.as_bytes(), "`a`".into()).unwrap().collect();
        assert_eq!(rows[0].as_ref().unwrap(), &Some((vec![0.5, 1.0], Some("a".to_string()))));
        assert_eq!(rows[1].as_ref().unwrap(), &None);
        assert!(format!("{:#}", rows[2].as_ref().unwrap_err()).starts_with("`a`, line 4: field `embedding`"));
        assert!(csv_rows("a,b\n".as_bytes(), "`a`".into()).is_err());
    }
}
