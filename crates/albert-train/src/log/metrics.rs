//! `metrics.jsonl`: one row per step and one per evaluation.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::trainer::Evaluation;

/// The name of the file in a run's folder `training`.
pub(super) const FILE: &str = "metrics.jsonl";

/// The row of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The step, from 1.
    pub step: u64,
    /// The epochs passed.
    pub epoch: f64,
    /// The loss before the step.
    pub loss: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The tokens of the step.
    pub tokens: usize,
    /// The speed of the step, the only value that differs between equal runs.
    pub tokens_per_second: f64,
}

/// The open file.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Creates an empty file in `folder`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(Error::write(&path))?;
        Ok(Self { path, file })
    }

    /// Opens the file of a run that resumes at `step`, and removes the rows of later steps and a
    /// partial last line.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn resume(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join(FILE);
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(Error::write(&path))?;
        let mut kept = 0;
        let mut lines = BufReader::new(&file);
        let mut line = String::new();
        while lines.read_line(&mut line).map_err(Error::read(&path))? > 0 {
            let row: Option<Value> = serde_json::from_str(&line).ok();
            let row_step = row.as_ref().and_then(|row| row.get("step")?.as_u64());
            if !line.ends_with('\n') || row_step.is_none_or(|row_step| row_step > step) {
                break;
            }
            kept += line.len() as u64;
            line.clear();
        }
        file.set_len(kept).map_err(Error::write(&path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::write(&path))?;
        Ok(Self { path, file })
    }

    /// Adds the row of a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, row: &Row) -> Result<()> {
        self.write(&json!(row))
    }

    /// Adds the row of an evaluation.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_evaluation(&mut self, step: u64, evaluation: &Evaluation) -> Result<()> {
        let metrics = evaluation
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)));
        let metrics: Map<String, Value> = metrics.collect();
        self.write(&json!({"step": step, "evaluation": metrics}))
    }

    fn write(&mut self, row: &Value) -> Result<()> {
        // One write per row: a killed run leaves whole rows, except perhaps the last.
        let line = format!("{row}\n");
        self.file
            .write_all(line.as_bytes())
            .map_err(Error::write(&self.path))
    }

    /// Waits until the rows are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::write(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64) -> Row {
        Row {
            step,
            epoch: 0.004,
            loss: 2.31,
            learning_rate: 1e-5,
            grad_norm: 1.7,
            tokens: 1873,
            tokens_per_second: 2210.5,
        }
    }

    #[test]
    fn rows_have_the_documented_form() {
        let dir = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(dir.path()).unwrap();
        metrics.add(&row(1)).unwrap();
        metrics
            .add_evaluation(1, &vec![("loss".into(), 0.31), ("accuracy".into(), 0.91)])
            .unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(
            text,
            "{\"step\":1,\"epoch\":0.004,\"loss\":2.31,\"learning_rate\":0.00001,\"grad_norm\":1.7,\
             \"tokens\":1873,\"tokens_per_second\":2210.5}\n\
             {\"step\":1,\"evaluation\":{\"loss\":0.31,\"accuracy\":0.91}}\n"
        );
    }

    #[test]
    fn going_on_removes_later_rows_and_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut metrics = Metrics::create(dir.path()).unwrap();
        for step in 1..=4 {
            metrics.add(&row(step)).unwrap();
        }
        let whole = std::fs::read_to_string(&path).unwrap();
        for torn in [0, 1, 30] {
            std::fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            let mut metrics = Metrics::resume(dir.path(), 2).unwrap();
            metrics.add(&row(3)).unwrap();
            metrics.add(&row(4)).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "{torn}");
        }
    }
}
