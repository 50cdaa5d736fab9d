//! `verify`: compares a model's hidden states under two settings.

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::time::Instant;

use albert_data::Pairs;
use albert_tasks::tools::{SAMPLE_TEXTS, Verification};
use albert_tasks::{Embedder, RunOptions, TokenEmbeddings};
use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::device::{DeviceChoice, DtypeChoice};
use crate::failure::Hint;
use crate::input::Input;
use crate::options::{
    ComputeArgs, InputArgs, MAX_THREADS, ModelArgs, OutputArgs, PairArgs, number,
};
use crate::output::{REPORT, columns};
use crate::progress::{Extent, Progress, Talk, Tally};
use crate::stream::{self, Chunks, Item};

/// The options of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli verify --against batch-tokens=64,threads=1
  albert-cli verify --against dtype=bf16 'The cat sat on the mat.' --format json")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    input: InputArgs,

    /// The other settings as KEY=VALUE,…: device, dtype, batch-tokens, threads, model
    #[arg(long, value_name = "KEY=VALUE,…", help_heading = "Comparison")]
    against: Against,

    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The settings that differ from the command's own.
#[derive(Debug, Clone, Default, PartialEq)]
struct Against {
    device: Option<DeviceChoice>,
    dtype: Option<DtypeChoice>,
    batch_tokens: Option<usize>,
    threads: Option<usize>,
    model: Option<String>,
}

impl FromStr for Against {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const KEYS: &str = "device, dtype, batch-tokens, threads or model";
        let mut against = Self::default();
        for item in text.split(',') {
            let Some((key, value)) = item.split_once('=') else {
                return Err(format!("expected KEY=VALUE with {KEYS}, found `{item}`"));
            };
            let (key, value) = (key.trim(), value.trim());
            let named = |why: String| format!("{key}: {why}");
            let doubled = match key {
                "device" => against
                    .device
                    .replace(value.parse().map_err(named)?)
                    .is_some(),
                "dtype" => against
                    .dtype
                    .replace(dtype(value).map_err(named)?)
                    .is_some(),
                "batch-tokens" => against
                    .batch_tokens
                    .replace(number(1..=usize::MAX)(value).map_err(named)?)
                    .is_some(),
                "threads" => against
                    .threads
                    .replace(number(1..=MAX_THREADS)(value).map_err(named)?)
                    .is_some(),
                "model" if value.is_empty() => {
                    return Err(named("expected a model, found nothing".to_string()));
                }
                "model" => against.model.replace(value.to_string()).is_some(),
                _ => return Err(format!("unknown key `{key}`: expected {KEYS}")),
            };
            if doubled {
                return Err(format!("`{key}` is given twice"));
            }
        }
        Ok(against)
    }
}

fn dtype(name: &str) -> Result<DtypeChoice, String> {
    DtypeChoice::from_str(name, false).map_err(|_| {
        let shown = DtypeChoice::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = shown.map(|value| value.get_name().to_string()).collect();
        format!("expected {}, found `{name}`", names.join(", "))
    })
}

impl Against {
    /// Returns the command's own settings with the differences applied.
    fn options(&self, own: &RunOptions) -> anyhow::Result<RunOptions> {
        let mut options = own.clone();
        if let Some(dtype) = self.dtype {
            options.load.weights = dtype.into();
        }
        if let Some(device) = self.device {
            options.load.device = device.open()?;
        }
        options.batch_tokens = self.batch_tokens.or(own.batch_tokens);
        Ok(options)
    }

    fn pool(&self) -> anyhow::Result<Option<rayon::ThreadPool>> {
        let Some(threads) = self.threads else {
            return Ok(None);
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        Ok(Some(pool.build().with_context(|| {
            format!("cannot start {threads} threads")
        })?))
    }
}

/// The model under both settings.
struct Ways {
    one: Embedder,
    other: Embedder,
    pool: Option<rayon::ThreadPool>,
}

impl Ways {
    /// Computes the vectors of the texts' tokens under both settings.
    fn compute(&self, texts: &[&str]) -> anyhow::Result<[Vec<TokenEmbeddings>; 2]> {
        let other = || self.other.embed_tokens(texts);
        Ok([
            self.one.embed_tokens(texts)?,
            match &self.pool {
                Some(pool) => pool.install(other)?,
                None => other()?,
            },
        ])
    }

    /// Returns chunks that suit both settings.
    fn chunks(own: &RunOptions, others: &RunOptions) -> Chunks {
        let (own, others) = (Chunks::new(own), Chunks::new(others));
        let in_flight = own.in_flight.min(others.in_flight);
        let larger = if own.limits.rows > others.limits.rows {
            own
        } else {
            others
        };
        Chunks {
            in_flight,
            ..larger
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: VerifyArgs, talk: Talk) -> anyhow::Result<()> {
    let is_named = !args.input.is_empty();
    let nothing_given = !is_named && io::stdin().is_terminal();
    let request = if nothing_given {
        None
    } else {
        Some(args.input.request(PairArgs::default(), Pairs::Refused)?)
    };
    let input = request.as_ref().map(Input::open).transpose()?;
    let read = match &request {
        Some(request) => request.origin.paths()?,
        None => Vec::new(),
    };
    let output = args.output.target(REPORT)?.open(&read)?;
    let own = args.compute.run_options(&args.model, talk)?;
    let others = args.against.options(&own)?;
    let pool = args.against.pool()?;
    let files = args.model.files(talk)?;
    let other_files = args
        .against
        .model
        .as_deref()
        .map(|model| args.model.reading.files(model.as_ref(), talk))
        .transpose()?;
    for files in std::iter::once(&files).chain(&other_files) {
        output.spare(files)?;
    }
    let ways = Ways {
        one: Embedder::load(&files, &own)?,
        other: Embedder::load(other_files.as_ref().unwrap_or(&files), &others)?,
        pool,
    };
    let mut found = Verification::default();
    let started = Instant::now();
    let mut tally = Tally::default();
    let progress = Progress::new(
        talk,
        input.as_ref().map_or(Extent::Short, |input| input.extent),
        false,
    );
    if let Some(input) = input {
        let work = |items: Vec<Item>| {
            let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
            let [one, other] = ways.compute(&texts)?;
            Ok(one.into_iter().zip(other).map(Ok).collect())
        };
        let add = |both: Option<(TokenEmbeddings, TokenEmbeddings)>| {
            match both {
                Some((one, other)) => found.add(&[one], &[other])?,
                None => found.skip(),
            }
            Ok(())
        };
        stream::consume(
            input,
            Ways::chunks(&own, &others),
            &progress,
            &mut tally,
            work,
            add,
        )?;
    }
    if tally.rows == tally.bad {
        // Standard input that was not requested may just be empty, as in a cron job.
        if is_named || tally.bad > 0 {
            let found = if tally.bad > 0 {
                format!("{} bad", tally.bad)
            } else {
                "none".to_string()
            };
            return Err(anyhow!(
                "no text to compare: expected at least one text in the input, found {found}"
            )
            .hint("omit the input to compare on a few built-in texts"));
        }
        talk.say(format_args!(
            "no texts given: compared on {} built-in texts",
            SAMPLE_TEXTS.len()
        ));
        let [one, other] = ways.compute(&SAMPLE_TEXTS)?;
        found.add(&one, &other)?;
        tally.rows = found.texts;
    }
    progress.finish();
    let row = VerifyRow::new(&found);
    output.report(&row, table)?;
    tally.tokens = Some(found.tokens);
    tally.elapsed = started.elapsed();
    talk.say(tally);
    Ok(())
}

/// The differences between the two settings.
#[derive(Debug, Serialize)]
struct VerifyRow {
    max_abs: f32,
    min_cosine: f32,
    worst_index: usize,
}

impl VerifyRow {
    fn new(found: &Verification) -> Self {
        Self {
            max_abs: found.max_abs,
            min_cosine: found.min_cosine,
            worst_index: found.worst_index,
        }
    }
}

fn table(found: &VerifyRow) -> String {
    let cells = [
        [
            "largest difference".to_string(),
            format!("{:.3e}", found.max_abs),
        ],
        [
            "smallest cosine".to_string(),
            format!("{:.8}", found.min_cosine),
        ],
        ["worst text".to_string(), found.worst_index.to_string()],
    ];
    columns(&cells.map(|row| row.to_vec()), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_a_list_of_keys_and_values() {
        let against: Against = "device=cpu,dtype=bf16, batch-tokens=64,threads=1,model=./a"
            .parse()
            .unwrap();
        let expected = Against {
            device: Some(DeviceChoice::Cpu),
            dtype: Some(DtypeChoice::Bf16),
            batch_tokens: Some(64),
            threads: Some(1),
            model: Some("./a".to_string()),
        };
        assert_eq!(against, expected);
        for (bad, words) in [
            ("", "expected KEY=VALUE"),
            ("cpu", "expected KEY=VALUE"),
            ("device=tpu", "device: expected auto"),
            ("dtype=f64", "dtype: expected auto, f32"),
            (
                "batch-tokens=0",
                "batch-tokens: expected a whole number from 1",
            ),
            ("threads=x", "threads: expected"),
            ("model=", "model: expected"),
            ("colour=red", "unknown key `colour`"),
            ("threads=1,threads=2", "twice"),
        ] {
            let error = bad.parse::<Against>().unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let own = RunOptions::default()
            .with_batch_tokens(99)
            .with_max_length(8);
        let options = "threads=2"
            .parse::<Against>()
            .unwrap()
            .options(&own)
            .unwrap();
        assert_eq!(
            (options.batch_tokens, options.max_length),
            (Some(99), Some(8))
        );
        let options = "batch-tokens=5"
            .parse::<Against>()
            .unwrap()
            .options(&own)
            .unwrap();
        assert_eq!(options.batch_tokens, Some(5));
    }
}
