//! Event files for TensorBoard.
//!
//! A file is a row of records: the length (u64, little-endian), its masked CRC-32C, an `Event` in
//! Protocol Buffers, and its masked CRC-32C.
//!
//! Source: tensorflow `record_writer.cc`, `event.proto` and `summary.proto`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use albert_formats::crc32c::{crc32c, mask};

use super::metrics::Row;
use crate::error::{Error, Result};
use crate::trainer::Evaluation;

/// An open event file.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: File,
}

impl TensorBoard {
    /// Creates an event file in `folder` for a run from `step` on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let name = format!(
            "events.out.tfevents.{:010}.albert-train.{step}",
            now() as u64
        );
        let path = folder.join(name);
        let file = File::create(&path).map_err(Error::write(&path))?;
        let mut board = Self { path, file };
        let mut event = Vec::new();
        bytes(&mut event, 3, b"brain.Event:2");
        board.write(0, &event)?;
        Ok(board)
    }

    /// Adds the row of a step and the terms of its loss.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_step(&mut self, row: &Row, terms: &[(&'static str, f64)]) -> Result<()> {
        let mut values: Vec<(String, f64)> = [
            ("loss", row.loss),
            ("epoch", row.epoch),
            ("learning_rate", row.learning_rate),
            ("grad_norm", row.grad_norm),
            ("tokens_per_second", row.tokens_per_second),
        ]
        .map(|(name, value)| (format!("train/{name}"), value))
        .into();
        values.extend(
            terms
                .iter()
                .map(|(name, value)| (format!("train/{name}_loss"), *value)),
        );
        self.add(row.step, &values)
    }

    /// Adds the metrics of an evaluation.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_evaluation(&mut self, step: u64, evaluation: &Evaluation) -> Result<()> {
        let values = evaluation
            .iter()
            .map(|(name, value)| (format!("eval/{name}"), *value));
        self.add(step, &values.collect::<Vec<_>>())
    }

    fn add(&mut self, step: u64, values: &[(String, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut message = Vec::new();
            bytes(&mut message, 1, tag.as_bytes());
            // Field 2, four bytes.
            message.push(2 << 3 | 5);
            message.extend((*value as f32).to_le_bytes());
            bytes(&mut summary, 1, &message);
        }
        let mut event = Vec::new();
        bytes(&mut event, 5, &summary);
        self.write(step, &event)
    }

    /// Writes an event with the time and the step before the other fields.
    fn write(&mut self, step: u64, fields: &[u8]) -> Result<()> {
        let mut event = vec![1 << 3 | 1];
        event.extend(now().to_le_bytes());
        event.push(2 << 3);
        varint(&mut event, step);
        event.extend(fields);
        let length = (event.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_checksum(&length).to_le_bytes());
        record.extend(&event);
        record.extend(masked_checksum(&event).to_le_bytes());
        self.file
            .write_all(&record)
            .map_err(Error::write(&self.path))
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Returns a field of bytes with its length.
fn bytes(message: &mut Vec<u8>, field: u8, content: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, content.len() as u64);
    message.extend(content);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn masked_checksum(content: &[u8]) -> u32 {
    mask(crc32c(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_lengths_checksums_and_events() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(dir.path(), 7).unwrap();
        board.add(300, &[("train/loss".into(), 2.5)]).unwrap();
        let file = std::fs::read(&board.path).unwrap();
        let (mut rest, mut events) = (file.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let event = &rest[12..12 + length];
            let stored = u32::from_le_bytes(rest[12 + length..16 + length].try_into().unwrap());
            assert_eq!(stored, masked_checksum(event));
            events.push(event.to_vec());
            rest = &rest[16 + length..];
        }
        assert_eq!(events.len(), 2);
        assert!(events[0].ends_with(b"\x1a\x0dbrain.Event:2"));
        // Step 300 is the varint ac 02; the summary has one value of 17 bytes.
        let expected = b"\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15\x00\x00\x20\x40";
        assert_eq!(events[1][9..], expected[..]);
    }
}
