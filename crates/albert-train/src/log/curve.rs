//! `loss.svg`: loss, evaluation metrics and learning rate over the steps.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::metrics;
use crate::error::{Error, Result};

const FILE: &str = "loss.svg";

/// Points of a line: more than the picture has pixels would only make the file larger.
const POINTS: usize = 400;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 28.0;
const GAP: f64 = 34.0;

/// Colors that people with any color vision can distinguish (Okabe and Ito).
const COLORS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// A line or a row of points.
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    is_marked: bool,
}

/// A coordinate system with a common scale.
struct Panel {
    height: f64,
    series: Vec<Series>,
}

/// Draws `loss.svg` in `folder` from its `metrics.jsonl`.
///
/// # Errors
/// If the log cannot be read or the picture cannot be written.
pub fn write_curve(folder: &Path) -> Result<()> {
    let log = folder.join(metrics::FILE);
    let file = File::open(&log).map_err(Error::read(&log))?;
    let (mut loss, mut rate) = (Thinned::default(), Thinned::default());
    let mut evaluations: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Error::read(&log))?;
        let row: Value = serde_json::from_str(&line).unwrap_or_default();
        let number = |name: &str| row.get(name).and_then(Value::as_f64);
        let Some(step) = number("step") else { continue };
        if let (Some(value), Some(learning_rate)) = (number("loss"), number("learning_rate")) {
            loss.add(step, value);
            rate.add(step, learning_rate);
        }
        for (name, value) in row
            .get("evaluation")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let Some(value) = value.as_f64() else {
                continue;
            };
            match evaluations.iter_mut().find(|(known, _)| known == name) {
                Some((_, points)) => points.push((step, value)),
                None => evaluations.push((name.clone(), vec![(step, value)])),
            }
        }
    }
    let line = |name: &str, thinned: Thinned| Series {
        name: name.into(),
        points: thinned.points(),
        is_marked: false,
    };
    let mut panels = vec![Panel {
        height: 230.0,
        series: vec![line("training loss", loss)],
    }];
    let mut metrics = Panel {
        height: 150.0,
        series: Vec::new(),
    };
    for (name, points) in evaluations {
        let is_loss = name.ends_with("loss");
        let panel = if is_loss {
            &mut panels[0]
        } else {
            &mut metrics
        };
        panel.series.push(Series {
            name: format!("evaluation {}", name.replace('_', " ")),
            points,
            is_marked: true,
        });
    }
    if !metrics.series.is_empty() {
        panels.push(metrics);
    }
    panels.push(Panel {
        height: 90.0,
        series: vec![line("learning rate", rate)],
    });
    let path = folder.join(FILE);
    let partial = folder.join("loss.svg.partial");
    std::fs::write(&partial, draw(&panels)).map_err(Error::write(&partial))?;
    std::fs::rename(&partial, &path).map_err(Error::write(&path))
}

/// A line of at most twice [`POINTS`] points, each the mean of consecutive steps.
#[derive(Default)]
struct Thinned {
    points: Vec<(f64, f64)>,
    steps_each: usize,
    sum: (f64, f64),
    count: usize,
}

impl Thinned {
    fn add(&mut self, step: f64, value: f64) {
        self.steps_each = self.steps_each.max(1);
        self.sum = (self.sum.0 + step, self.sum.1 + value);
        self.count += 1;
        if self.count < self.steps_each {
            return;
        }
        self.flush();
        if self.points.len() >= 2 * POINTS {
            self.points = self
                .points
                .chunks(2)
                .map(|pair| {
                    let count = pair.len() as f64;
                    let sum = pair
                        .iter()
                        .fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
                    (sum.0 / count, sum.1 / count)
                })
                .collect();
            self.steps_each *= 2;
        }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            let count = self.count as f64;
            self.points.push((self.sum.0 / count, self.sum.1 / count));
            (self.sum, self.count) = ((0.0, 0.0), 0);
        }
    }

    fn points(mut self) -> Vec<(f64, f64)> {
        self.flush();
        self.points
    }
}

fn draw(panels: &[Panel]) -> String {
    let all = || {
        panels
            .iter()
            .flat_map(|panel| &panel.series)
            .flat_map(|series| &series.points)
    };
    let last_step = all().map(|point| point.0).fold(1.0, f64::max);
    let height = TOP + panels.iter().map(|panel| panel.height + GAP).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut top = TOP;
    for panel in panels {
        draw_panel(&mut svg, panel, top, last_step);
        top += panel.height + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, top: f64, last_step: f64) {
    let (right, bottom) = (WIDTH - RIGHT, top + panel.height);
    let values = panel
        .series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.1);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return;
    }
    let step = tick_step((high - low).max(high.abs() * 1e-3).max(f64::MIN_POSITIVE));
    let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
    let span = (high - low).max(step);
    let x = |value: f64| LEFT + (right - LEFT) * value / last_step;
    let y = |value: f64| bottom - panel.height * (value - low) / span;
    // Writing to a string cannot fail.
    let ticks = (span / step).round() as usize;
    for tick in 0..=ticks {
        let value = low + step * tick as f64;
        let at = y(value);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            label(value, step),
        );
    }
    let step = tick_step(last_step).max(1.0);
    for tick in 0..=(last_step / step) as usize {
        let value = step * tick as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444\">{value}</text>",
            x(value),
            bottom + 15.0,
        );
    }
    for (index, series) in panel.series.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let mut path = String::new();
        for (point, (step, value)) in series.points.iter().enumerate() {
            let command = if point == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", x(*step), y(*value));
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>"
        );
        for (step, value) in series.points.iter().filter(|_| series.is_marked) {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{color}\"/>",
                x(*step),
                y(*value)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{}</text>",
            right + 8.0,
            top + 10.0 + 15.0 * index as f64,
            escaped(&series.name),
        );
    }
}

/// Returns a distance of 1, 2 or 5 times a power of ten that divides a span into three to eight.
fn tick_step(span: f64) -> f64 {
    let power = 10f64.powf((span / 4.0).log10().floor());
    match span / 4.0 / power {
        below if below < 2.0 => power,
        below if below < 5.0 => 2.0 * power,
        _ => 5.0 * power,
    }
}

fn label(value: f64, step: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        return format!("{value:.1e}");
    }
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_thinned_to_means() {
        let mut thinned = Thinned::default();
        for step in 0..100_000 {
            thinned.add(f64::from(step), 2.0);
        }
        let points = thinned.points();
        assert!(
            (POINTS..=2 * POINTS + 1).contains(&points.len()),
            "{}",
            points.len()
        );
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(points.iter().all(|point| point.1 == 2.0));
    }

    #[test]
    fn the_picture_has_every_series_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let rows = "{\"step\":1,\"loss\":9.0,\"learning_rate\":1e-4}\n\
            {\"step\":2,\"loss\":8.0,\"learning_rate\":5e-5}\n\
            {\"step\":2,\"evaluation\":{\"loss\":8.5,\"top_1\":0.1}}\n{\"step\":3,\"lo";
        std::fs::write(dir.path().join(metrics::FILE), rows).unwrap();
        write_curve(dir.path()).unwrap();
        let svg = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        for name in [
            "training loss",
            "evaluation loss",
            "evaluation top 1",
            "learning rate",
        ] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (span, expected) in [(8.0, 2.0), (1.0, 0.2), (30.0, 5.0), (4.0, 1.0)] {
            let found = tick_step(span);
            assert!((found - expected).abs() < 1e-12, "{span}: {found}");
        }
    }
}
