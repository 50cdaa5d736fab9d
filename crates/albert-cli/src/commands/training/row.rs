//! The row of a finished run on standard output.

use albert_train::Summary;
use serde_json::{Map, Value, json};

use crate::output::print_to_stdout;

/// Returns the row of a finished run: the step of the result, the last loss, and the metrics.
pub(crate) fn row(summary: &Summary) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("step".into(), json!(summary.result_step));
    row.insert("loss".into(), json!(summary.loss));
    for (name, value) in summary.evaluation.iter().flatten() {
        row.insert(name.clone(), json!(value));
    }
    row
}

/// Prints a row.
pub(crate) fn print(row: Map<String, Value>) -> anyhow::Result<()> {
    let row = Value::Object(row);
    print_to_stdout(|| {
        use std::io::Write;
        writeln!(std::io::stdout(), "{row}")
    })
}
