//! An objective's working data: rows of hidden states, their gradients, and dense layers.

use albert_kernels::training::add;
use albert_kernels::{Aligned, Epilogue};

use crate::train::bundle::Bundle;
use crate::train::network::Dense;
use crate::train::slot::{Purpose, Recorded, Step, WeightScratch};

/// The hidden states of a bundle, and where their gradients go.
#[derive(Debug)]
pub struct HeadPass<'a> {
    pub(super) step: &'a Step<'a>,
    pub(super) bundle: &'a Bundle,
    /// The index of the objective in the step.
    pub(super) objective: usize,
    /// `(read, H)`, or `(rows, H)` between layers
    pub(super) states: &'a [f32],
    pub(super) d_states: &'a mut [f32],
    /// For each row of the bundle its place in `states`.
    pub(super) indices: &'a [usize],
    pub(super) gradients: &'a mut [f32],
    pub(super) scratch: &'a mut WeightScratch,
    pub(super) logits: &'a mut Aligned,
    /// The values of sequences, if the step keeps them.
    pub(super) recorded: &'a mut Vec<Recorded>,
}

impl HeadPass<'_> {
    pub(super) fn is_training(&self) -> bool {
        self.step.is_training
    }

    /// Keeps the values of a sequence, if the step does.
    pub(super) fn record(&mut self, sequence: usize, values: &[f32]) {
        if self.step.records {
            self.recorded.push(Recorded {
                objective: self.objective,
                sequence,
                values: values.to_vec(),
            });
        }
    }

    fn h(&self) -> usize {
        self.step.shape.h
    }

    /// Returns the states of some rows of the bundle, next to each other.
    pub(super) fn gather(&self, rows: &[usize]) -> Vec<f32> {
        let h = self.h();
        let states = rows
            .iter()
            .flat_map(|row| &self.states[self.indices[*row] * h..][..h]);
        states.copied().collect()
    }

    /// Adds to the gradients of some rows of the bundle.
    pub(super) fn scatter(&mut self, rows: &[usize], gradients: &[f32]) {
        let h = self.h();
        for (row, gradient) in rows.iter().zip(gradients.chunks_exact(h)) {
            let to = &mut self.d_states[self.indices[*row] * h..][..h];
            add(self.step.instructions, gradient, to);
        }
    }

    /// `y = x Wᵀ + b`
    pub(super) fn dense(&self, dense: &Dense, xs: &[f32]) -> Vec<f32> {
        let rows = xs.len() / dense.input;
        let mut ys = vec![0.0; rows * dense.out];
        self.step.dense(dense, xs, rows, &mut ys);
        ys
    }

    /// Adds the gradients of weight and bias; returns that of x.
    pub(super) fn dense_backward(&mut self, dense: &Dense, xs: &[f32], dys: &[f32]) -> Vec<f32> {
        let rows = xs.len() / dense.input;
        self.scratch
            .bias(self.step.instructions, dense, dys, self.gradients);
        self.scratch.pack(xs, rows, dense.input);
        self.scratch.weight(dense, dys, self.gradients);
        let mut dxs = vec![0.0; xs.len()];
        self.step
            .dense_backward(dense, dys, rows, &mut dxs, Epilogue::Store);
        dxs
    }

    /// Drops out rows that a classifier reads; each belongs to a sequence and has a place in it.
    pub(super) fn drop_out(&self, places: &[(usize, usize)], xs: &mut [f32], width: usize) {
        let purpose = Purpose::Classifier {
            objective: self.objective,
        };
        let probability = self.step.dropout.classifier;
        self.step
            .drop_out(probability, places.iter().copied(), purpose, xs, width);
    }

    /// Computes logits of the pooled `[CLS]` of sequences, and goes back from the gradients
    /// that `loss` leaves in their place.
    pub(super) fn classify(
        &mut self,
        pooler: &Dense,
        classifier: &Dense,
        is_counted: impl Fn(usize) -> bool,
        loss: impl FnOnce(&[usize], &mut [f32]),
    ) {
        let counted = self
            .bundle
            .spans
            .iter()
            .filter(|span| is_counted(span.sequence));
        let (rows, sequences): (Vec<_>, Vec<_>) =
            counted.map(|span| (span.start, span.sequence)).unzip();
        if rows.is_empty() {
            return;
        }
        let first = self.gather(&rows);
        let mut pooled = self.dense(pooler, &first);
        pooled.iter_mut().for_each(|x| *x = x.tanh());
        let places: Vec<_> = sequences.iter().map(|sequence| (*sequence, 0)).collect();
        let mut dropped = pooled.clone();
        let has_dropout = self.step.network.has_dropout_before(classifier);
        if has_dropout {
            self.drop_out(&places, &mut dropped, pooler.out);
        }
        let mut logits = self.dense(classifier, &dropped);
        for (sequence, logits) in sequences.iter().zip(logits.chunks_exact(classifier.out)) {
            self.record(*sequence, logits);
        }
        loss(&sequences, &mut logits);
        if !self.is_training() {
            return;
        }
        let mut d_pooled = self.dense_backward(classifier, &dropped, &logits);
        if has_dropout {
            self.drop_out(&places, &mut d_pooled, pooler.out);
        }
        for (d, y) in d_pooled.iter_mut().zip(&pooled) {
            *d *= 1.0 - y * y;
        }
        let d_first = self.dense_backward(pooler, &first, &d_pooled);
        self.scatter(&rows, &d_first);
    }
}
