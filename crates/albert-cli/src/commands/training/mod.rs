//! The parts that all training commands share: their settings, the recipe, the run and its messages.
//!
//! | Module | Content |
//! |---|---|
//! | `settings` | options and a command's defaults as settings of the trainer and the pass |
//! | `recipe` | every option of a run with its value |
//! | `run` | the run in its output folder, its signals and its errors |
//! | `watch` | messages of a run in progress, and its curve |
//! | `row` | the row of a finished run |

mod recipe;
mod row;
mod run;
mod settings;
mod watch;

pub(super) use recipe::Recipe;
pub(super) use row::{print, row};
pub(super) use run::{Plan, Run};
pub(super) use settings::{Defaults, length, pass, settings};
