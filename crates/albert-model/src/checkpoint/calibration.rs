//! Statistics of the inputs of a weight, for quantizing it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The statistics of the inputs of int8 products, by the names of their weights.
pub(crate) type Calibration = BTreeMap<String, Arc<ChannelStatistics>>;

/// The largest magnitude and the mean of each channel.
#[derive(Debug, Default)]
pub(crate) struct ChannelStatistics {
    largest: Vec<f32>,
    sums: Vec<f64>,
    rows: usize,
}

impl ChannelStatistics {
    /// Adds rows of `channels` values to the statistics.
    pub(crate) fn see(&mut self, rows: &[f32], channels: usize) {
        self.largest.resize(channels, 0.0);
        self.sums.resize(channels, 0.0);
        for row in rows.chunks_exact(channels) {
            for ((largest, sum), x) in self.largest.iter_mut().zip(&mut self.sums).zip(row) {
                *largest = largest.max(x.abs());
                *sum += f64::from(*x);
            }
            self.rows += 1;
        }
    }

    /// Returns only the largest values, with which no bias is corrected.
    pub(crate) fn without_means(&self) -> Self {
        Self {
            largest: self.largest.clone(),
            sums: vec![0.0; self.sums.len()],
            rows: self.rows,
        }
    }

    /// Returns the `count` channels with the largest values, in order.
    pub(super) fn outliers(&self, count: usize) -> Vec<u32> {
        let mut channels: Vec<u32> = (0..self.largest.len() as u32).collect();
        channels.sort_by(|&a, &b| self.largest[b as usize].total_cmp(&self.largest[a as usize]));
        channels.truncate(count);
        channels.sort_unstable();
        channels
    }

    pub(super) fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.rows as f64).collect()
    }
}
