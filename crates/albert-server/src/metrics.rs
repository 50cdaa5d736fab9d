//! Prometheus series, under text-embeddings-inference's names so that its dashboards work, and a few
//! of this server's own.

use std::time::Duration;

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder, exponential_buckets,
};

use crate::times::Times;

/// The kind of work that a request asks for, as the metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embed,
    Predict,
}

/// The series of one kind of work.
#[derive(Debug)]
struct WorkSeries {
    count: IntCounter,
    success: IntCounter,
    duration: Histogram,
    tokenization: Histogram,
    queue: Histogram,
    inference: Histogram,
}

/// All series.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    successes: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    tokenization: Histogram,
    queue: Histogram,
    inference: Histogram,
    input_length: Histogram,
    embed: WorkSeries,
    predict: WorkSeries,
    queue_size: IntGauge,
    queue_tokens: IntGauge,
    step_texts: Histogram,
    step_tokens: Histogram,
    tokens: IntCounter,
    tokens_per_second: Gauge,
    resident: IntGauge,
}

/// Registers the series of one registry.
struct Register(Registry);

impl Register {
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let counter = IntCounter::new(name, help)?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// Registers a histogram of times in seconds: 35 buckets from 10 µs to 10 s, each 1.5 times the
    /// last.
    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        self.histogram(name, help, exponential_buckets(1e-5, 1.5, 35)?)
    }

    /// Registers a histogram of counts, with powers of two as buckets.
    fn counts(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        self.histogram(name, help, exponential_buckets(1.0, 2.0, 18)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> prometheus::Result<Histogram> {
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn work_series(&self, kind: &str) -> prometheus::Result<WorkSeries> {
        let name = |series: &str| format!("te_{kind}_{series}");
        Ok(WorkSeries {
            count: self.counter(&name("count"), "Texts requested")?,
            success: self.counter(&name("success"), "Texts answered")?,
            duration: self.seconds(&name("duration"), "Duration of a request in seconds")?,
            tokenization: self.seconds(
                &name("tokenization_duration"),
                "Time of a request in the tokenizer, in seconds",
            )?,
            queue: self.seconds(
                &name("queue_duration"),
                "Time of a request in the queue, in seconds",
            )?,
            inference: self.seconds(
                &name("inference_duration"),
                "Time of a request from its first step to its end, in seconds",
            )?,
        })
    }
}

impl Metrics {
    /// Registers the series.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let register = Register(Registry::new());
        Ok(Self {
            requests: register.counters("te_request_count", "Requests", "method")?,
            successes: register.counters("te_request_success", "Requests answered", "method")?,
            failures: register.counters("te_request_failure", "Requests failed", "err")?,
            duration: register
                .seconds("te_request_duration", "Duration of a request in seconds")?,
            tokenization: register.seconds(
                "te_request_tokenization_duration",
                "Time of a request in the tokenizer, in seconds",
            )?,
            queue: register.seconds(
                "te_request_queue_duration",
                "Time of a request in the queue, in seconds",
            )?,
            inference: register.seconds(
                "te_request_inference_duration",
                "Time of a request from its first step to its end, in seconds",
            )?,
            input_length: register.counts("te_request_input_length", "Tokens of a text")?,
            embed: register.work_series("embed")?,
            predict: register.work_series("predict")?,
            queue_size: register.gauge("te_queue_size", "Requests in the queue")?,
            queue_tokens: register.gauge("albert_queue_tokens", "Tokens in the queue")?,
            step_texts: register.counts("te_batch_next_size", "Texts of a step")?,
            step_tokens: register.counts("te_batch_next_tokens", "Tokens of a step")?,
            tokens: register.counter("albert_tokens_total", "Tokens computed")?,
            tokens_per_second: {
                let help = "Tokens per second, averaged over finished steps";
                let gauge = Gauge::new("albert_tokens_per_second", help)?;
                register.0.register(Box::new(gauge.clone()))?;
                gauge
            },
            resident: register
                .gauge("process_resident_memory_bytes", "Resident memory in bytes")?,
            registry: register.0,
        })
    }

    /// Counts a request with one text or many.
    pub(crate) fn request(&self, kind: Kind, texts: usize) {
        self.requests.with_label_values(&[method(texts)]).inc();
        self.series_of(kind).count.inc_by(texts as u64);
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, kind: Kind, lengths: &[usize], times: &Times, total: Duration) {
        self.successes
            .with_label_values(&[method(lengths.len())])
            .inc();
        let work = self.series_of(kind);
        work.success.inc_by(lengths.len() as u64);
        for &length in lengths {
            self.input_length.observe(length as f64);
        }
        for (series, time) in [
            ([&self.duration, &work.duration], total),
            ([&self.tokenization, &work.tokenization], times.tokenization),
            ([&self.queue, &work.queue], times.queue),
            ([&self.inference, &work.inference], times.inference),
        ] {
            series
                .iter()
                .for_each(|series| series.observe(time.as_secs_f64()));
        }
    }

    /// Counts a request that failed.
    pub(crate) fn failed(&self, error: &str) {
        self.failures.with_label_values(&[error]).inc();
    }

    /// Records the requests and tokens in the queue.
    pub(crate) fn queue(&self, requests: usize, tokens: usize) {
        self.queue_size.set(requests as i64);
        self.queue_tokens.set(tokens as i64);
    }

    /// Records a finished step.
    pub(crate) fn step(&self, texts: usize, tokens: usize, tokens_per_second: f64) {
        self.step_texts.observe(texts as f64);
        self.step_tokens.observe(tokens as f64);
        self.tokens.inc_by(tokens as u64);
        self.tokens_per_second.set(tokens_per_second);
    }

    /// Returns all series in Prometheus' text format.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn series_of(&self, kind: Kind) -> &WorkSeries {
        match kind {
            Kind::Embed => &self.embed,
            Kind::Predict => &self.predict,
        }
    }
}

fn method(texts: usize) -> &'static str {
    if texts == 1 { "single" } else { "batch" }
}

/// Returns the process's resident memory, if `/proc` reports it.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_have_the_names_of_text_embeddings_inference() {
        let metrics = Metrics::new().unwrap();
        metrics.request(Kind::Embed, 2);
        metrics.failed("overloaded");
        metrics.answered(
            Kind::Embed,
            &[5, 7],
            &Times::default(),
            Duration::from_millis(3),
        );
        let text = metrics.text().unwrap();
        for line in [
            "te_request_count{method=\"batch\"} 1",
            "te_request_success{method=\"batch\"} 1",
            "te_request_failure{err=\"overloaded\"} 1",
            "te_embed_count 2",
            "te_embed_duration_count 1",
            "te_request_input_length_sum 12",
        ] {
            assert!(
                text.lines().any(|it| it == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
