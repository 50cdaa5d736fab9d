//! The log of a run: rows, a picture of them, and event files for TensorBoard.

mod curve;
mod metrics;
mod tensor_board;

pub use curve::write_curve;
pub use metrics::{Metrics, Row};
pub use tensor_board::TensorBoard;
