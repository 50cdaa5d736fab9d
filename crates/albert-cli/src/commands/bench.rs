//! `bench`: the speed of a model on this machine.

use albert_tasks::tools::{Benchmark, bench};
use clap::Args;

use crate::options::{ComputeArgs, ModelArgs, OutputArgs, number};
use crate::output::{REPORT, columns, visible};
use crate::progress::{Talk, size};

/// The options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli bench
  albert-cli bench --threads 1 --rounds 9 --format json")]
pub(crate) struct BenchArgs {
    /// Rounds for each shape; the median is shown
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = number(1..=1000), allow_negative_numbers = true)]
    rounds: usize,

    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: BenchArgs, talk: Talk) -> anyhow::Result<()> {
    let output = args.output.target(REPORT)?.open(&[])?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let benchmark = bench(&files, &options, args.rounds)?;
    output.report(&benchmark, table)
}

fn table(measured: &Benchmark) -> String {
    const WIDTH: usize = 60;
    let on = match &measured.kernels {
        Some(kernels) => format!("{} ({kernels})", measured.device),
        None => measured.device.to_string(),
    };
    let peak = measured
        .peak_memory_bytes
        .map_or_else(String::new, |bytes| {
            format!(", peak memory {}", size(bytes))
        });
    let threads = if measured.threads == 1 {
        "1 thread".to_string()
    } else {
        format!("{} threads", measured.threads)
    };
    let head = format!(
        "{}: {} parameters, {} on {on}, {threads}\nloaded in {:.0} ms{peak}, median of {}\n",
        visible(&measured.model, WIDTH),
        measured.parameters,
        measured.dtype,
        measured.load_seconds * 1e3,
        measured.rounds,
    );
    let mut cells = vec![
        ["shape", "tokens", "ms", "tokens/s"]
            .map(str::to_string)
            .to_vec(),
    ];
    cells.extend(measured.shapes.iter().map(|shape| {
        let milliseconds = format!("{:.2}", shape.milliseconds);
        let rate = format!("{:.0}", shape.tokens_per_second);
        vec![
            shape.shape.clone(),
            shape.tokens.to_string(),
            milliseconds,
            rate,
        ]
    }));
    head + &columns(&cells, &[1, 2, 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use albert_tasks::tools::ShapeTime;

    #[test]
    fn the_table_says_what_was_measured_and_with_what() {
        let shape = ShapeTime {
            shape: "1x16".into(),
            tokens: 16,
            milliseconds: 2.0,
            tokens_per_second: 8000.0,
        };
        let measured = Benchmark {
            model: "tiny".into(),
            parameters: 42,
            device: "cpu",
            dtype: "f32".to_string(),
            kernels: Some("avx2".into()),
            threads: 1,
            load_seconds: 0.25,
            rounds: 5,
            shapes: vec![shape],
            peak_memory_bytes: Some(50_000_000),
        };
        let expected = "\
tiny: 42 parameters, f32 on cpu (avx2), 1 thread
loaded in 250 ms, peak memory 50.00 MB, median of 5
shape  tokens    ms  tokens/s
1x16       16  2.00      8000
";
        assert_eq!(table(&measured), expected);
    }
}
