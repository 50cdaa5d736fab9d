//! Snapshots: everything needed to resume a run, written atomically.
//!
//! A snapshot is a folder `snapshot-STEP` with the weights, the moments of the optimizer and
//! `state.json`. It is written under another name, flushed to the disk and renamed; a run that is
//! killed at any moment leaves the snapshots before it as they were. The last two are kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::optim::Groups;
use crate::trainer::Evaluation;

/// Snapshots that are kept.
const KEPT: usize = 2;

const PREFIX: &str = "snapshot-";
const PARTIAL: &str = ".partial";
const STATE: &str = "state.json";
const WEIGHTS: &str = "weights.safetensors";
const MOMENTS: [&str; 2] = ["first-moment.safetensors", "second-moment.safetensors"];
const AVERAGE: &str = "average.safetensors";

/// The best evaluation so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: u64,
    pub(crate) value: f64,
    pub(crate) evaluation: Evaluation,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The steps taken.
    pub step: u64,
    /// The steps of the whole run.
    pub steps: u64,
    /// All that the losses depend on.
    pub fingerprint: Value,
    /// The place in the data.
    pub place: Value,
    /// The trainer's counters.
    pub(crate) progress: Value,
    /// The step of the best evaluation.
    pub(crate) best_step: Option<u64>,
}

/// A snapshot on disk.
#[derive(Debug, Clone)]
pub struct Snapshot {
    path: PathBuf,
    state: State,
}

impl Snapshot {
    /// Returns the last snapshot in a run's folder `training`; `None` if there is none.
    ///
    /// # Errors
    /// If the folder or the snapshot's state cannot be read.
    pub fn last(folder: &Path) -> Result<Option<Self>> {
        let Some(&step) = steps(folder)?.last() else {
            return Ok(None);
        };
        let path = folder.join(format!("{PREFIX}{step}"));
        let file = path.join(STATE);
        let text = fs::read(&file).map_err(Error::read(&file))?;
        let state = serde_json::from_slice(&text).map_err(|error| Error::Snapshot {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        Ok(Some(Self { path, state }))
    }

    /// Returns what the snapshot says about the run.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn error(&self, reason: String) -> Error {
        Error::Snapshot {
            path: self.path.clone(),
            reason,
        }
    }

    pub(crate) fn read_weights(&self, groups: &Groups, values: &mut [f32]) -> Result<()> {
        read(&self.path.join(WEIGHTS), groups, values)
    }

    pub(crate) fn read_moments(&self, groups: &Groups) -> Result<[Vec<f32>; 2]> {
        let mut moments = [vec![0.0; groups.len()], vec![0.0; groups.len()]];
        for (moment, file) in moments.iter_mut().zip(MOMENTS) {
            read(&self.path.join(file), groups, moment)?;
        }
        Ok(moments)
    }

    pub(crate) fn read_average(&self, groups: &Groups) -> Result<Vec<f32>> {
        let mut average = vec![0.0; groups.len()];
        read(&self.path.join(AVERAGE), groups, &mut average)?;
        Ok(average)
    }
}

/// Writes a snapshot, removes all but the last two, and returns its folder.
pub(crate) fn write(
    folder: &Path,
    state: &State,
    groups: &Groups,
    weights: &[f32],
    moments: [&[f32]; 2],
    average: Option<&[f32]>,
) -> Result<PathBuf> {
    let path = folder.join(format!("{PREFIX}{}", state.step));
    let partial = folder.join(format!("{PREFIX}{}{PARTIAL}", state.step));
    remove(&partial)?;
    fs::create_dir(&partial).map_err(Error::write(&partial))?;
    write_tensors(&partial.join(WEIGHTS), groups, weights)?;
    for (file, moment) in MOMENTS.iter().zip(moments) {
        write_tensors(&partial.join(file), groups, moment)?;
    }
    if let Some(average) = average {
        write_tensors(&partial.join(AVERAGE), groups, average)?;
    }
    let text = serde_json::to_string_pretty(state).expect("a tree of values");
    let file = partial.join(STATE);
    fs::write(&file, text).map_err(Error::write(&file))?;
    sync(&file)?;
    sync_folder(&partial)?;
    // A run that resumes from an older snapshot may reach the same step again.
    remove(&path)?;
    fs::rename(&partial, &path).map_err(Error::write(&path))?;
    sync_folder(folder)?;
    prune(folder)?;
    Ok(path)
}

/// Removes all snapshots and the weights of the best evaluation, once the result is written.
///
/// # Errors
/// If a folder cannot be read or a file cannot be removed.
pub fn remove_all(folder: &Path) -> Result<()> {
    for entry in names(folder)? {
        if entry.starts_with(PREFIX) || best_step(&entry).is_some() {
            remove(&folder.join(entry))?;
        }
    }
    Ok(())
}

/// Writes the weights of the best evaluation.
pub(crate) fn write_best(folder: &Path, step: u64, groups: &Groups, weights: &[f32]) -> Result<()> {
    let path = best_file(folder, step);
    let partial = path.with_extension("partial");
    write_tensors(&partial, groups, weights)?;
    fs::rename(&partial, &path).map_err(Error::write(&path))?;
    sync_folder(folder)
}

/// Reads the weights of the best evaluation.
pub(crate) fn read_best(
    folder: &Path,
    step: u64,
    groups: &Groups,
    weights: &mut [f32],
) -> Result<()> {
    read(&best_file(folder, step), groups, weights)
}

fn best_file(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("best-{step}.safetensors"))
}

/// Returns the step in the name of a file with the best weights.
fn best_step(name: &str) -> Option<u64> {
    name.strip_prefix("best-")?.split('.').next()?.parse().ok()
}

/// Returns the steps of the whole snapshots, ascending.
fn steps(folder: &Path) -> Result<Vec<u64>> {
    let names = names(folder)?;
    let steps = names
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
    let mut steps: Vec<u64> = steps.collect();
    steps.sort_unstable();
    Ok(steps)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        let entry = entry.map_err(Error::read(folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Removes all but the last snapshots, and the best weights that none of those names.
fn prune(folder: &Path) -> Result<()> {
    let steps = steps(folder)?;
    let (old, kept) = steps.split_at(steps.len().saturating_sub(KEPT));
    for step in old {
        remove(&folder.join(format!("{PREFIX}{step}")))?;
    }
    let mut best = Vec::new();
    for step in kept {
        let file = folder.join(format!("{PREFIX}{step}")).join(STATE);
        let text = fs::read(&file).map_err(Error::read(&file))?;
        let state: Option<State> = serde_json::from_slice(&text).ok();
        best.extend(state.and_then(|state| state.best_step));
    }
    for name in names(folder)? {
        if best_step(&name).is_some_and(|step| !best.contains(&step)) {
            remove(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Removes a file or a folder, if it exists.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::write(path)(error))
        }
        _ => Ok(()),
    }
}

/// A tensor of the flat buffer.
struct Flat<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Flat<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

fn write_tensors(path: &Path, groups: &Groups, values: &[f32]) -> Result<()> {
    let tensors = groups.tensors().iter().map(|tensor| {
        let flat = Flat {
            shape: &tensor.shape,
            values: &values[tensor.range.clone()],
        };
        (tensor.name.as_str(), flat)
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path)
        .map_err(std::io::Error::other)
        .map_err(Error::write(path))?;
    sync(path)
}

fn read(path: &Path, groups: &Groups, values: &mut [f32]) -> Result<()> {
    let wrong = |reason: String| Error::Snapshot {
        path: path.into(),
        reason,
    };
    let bytes = fs::read(path).map_err(Error::read(path))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
    for tensor in groups.tensors() {
        let name = &tensor.name;
        let stored = tensors
            .tensor(name)
            .map_err(|error| wrong(error.to_string()))?;
        if stored.dtype() != Dtype::F32 || stored.shape() != tensor.shape {
            return Err(wrong(format!(
                "`{name}`: expected F32 {:?}, found {:?} {:?}",
                tensor.shape,
                stored.dtype(),
                stored.shape()
            )));
        }
        let read = stored.data().chunks_exact(4);
        for (value, bytes) in values[tensor.range.clone()].iter_mut().zip(read) {
            *value = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
    }
    Ok(())
}

/// Waits until a file is on the disk.
fn sync(path: &Path) -> Result<()> {
    let file = File::options()
        .write(true)
        .open(path)
        .map_err(Error::write(path))?;
    file.sync_all().map_err(Error::write(path))
}

/// Waits until the names in a folder are on the disk. Only Unix opens folders.
fn sync_folder(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let folder = File::open(path).map_err(Error::write(path))?;
        folder.sync_all().map_err(Error::write(path))?;
    }
    Ok(())
}
