//! Long computations in steps, between which Python handles signals: Ctrl-C ends a call after the
//! current step, with a `KeyboardInterrupt`.

use albert_tasks::Result;
use pyo3::prelude::*;

use crate::error::{is_about_text, raise, raise_for_text};
use crate::pool::Threads;

/// Inputs of a step for each thread.
const INPUTS_PER_THREAD: usize = 16;

/// Computes the answers to inputs, in order.
///
/// # Errors
/// If `answer` fails, with the index of the input at fault, or a signal handler raises an
/// exception.
pub(crate) fn in_steps<I: Sync, T: Send>(
    py: Python<'_>,
    threads: &Threads,
    inputs: &[I],
    answer: impl Fn(&[I]) -> Result<Vec<T>> + Sync,
) -> PyResult<Vec<T>> {
    let mut answers = Vec::with_capacity(inputs.len());
    let step = INPUTS_PER_THREAD * threads.count()?;
    for (index, inputs) in inputs.chunks(step).enumerate() {
        answers.extend(one_step(py, threads, inputs, index * step, &answer)?);
        py.check_signals()?;
    }
    Ok(answers)
}

/// Computes the answers to inputs of which the first has the index `first`.
///
/// # Errors
/// If `answer` fails, with the index of the input at fault.
pub(crate) fn one_step<I: Sync, T: Send>(
    py: Python<'_>,
    threads: &Threads,
    inputs: &[I],
    first: usize,
    answer: impl Fn(&[I]) -> Result<Vec<T>> + Sync,
) -> PyResult<Vec<T>> {
    threads.run(py, || answer(inputs))?.map_err(|error| {
        if !is_about_text(&error) {
            return raise(py, &error);
        }
        let alone = |(index, input): (usize, &I)| {
            let answered = threads.run(py, || answer(std::slice::from_ref(input)));
            Some((index, answered.ok()?.err()?))
        };
        match inputs.iter().enumerate().find_map(alone) {
            Some((index, error)) => raise_for_text(py, &error, first + index),
            None => raise(py, &error),
        }
    })
}
