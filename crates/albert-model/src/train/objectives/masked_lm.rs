//! Masked language modeling.

use albert_kernels::Epilogue;
use albert_kernels::training::{
    NormGradients, activate, activate_backward, column_sums, cross_entropy, layer_norm,
    layer_norm_backward,
};

use crate::train::batch::TrainingBatch;
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::{Dense, MaskedLmHead};
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, scaled};

const NAME: &str = "masked_lm";

/// The mean cross-entropy of the tokens at masked positions.
///
/// The decoder runs over the vocabulary for these rows alone; the logits of one bundle exist at a
/// time.
#[derive(Debug, Clone)]
pub struct MaskedLm {
    head: MaskedLmHead,
    vocabulary: usize,
    /// Rows of the batch and their tokens, in the order of rows.
    targets: Vec<(usize, u32)>,
    pub(super) scale: Scale,
}

scaled!(MaskedLm);

impl MaskedLm {
    /// Takes for each masked row of the batch the token that was there.
    ///
    /// # Errors
    /// If the model has no masked-LM head, a token is not in the vocabulary, or a row comes twice.
    pub fn new(layout: &FlatLayout, mut targets: Vec<(usize, u32)>) -> Result<Self> {
        let head = layout.network().masked_lm.clone();
        let head = head.ok_or(crate::train::error::TrainError::Head {
            objective: NAME,
            expected: "a masked-LM head",
            found: layout.head(),
        })?;
        let vocabulary = layout.config().vocab_size;
        if let Some((_, id)) = targets.iter().find(|(_, id)| *id as usize >= vocabulary) {
            return Err(misfit(
                NAME,
                format!("tokens below {vocabulary}"),
                id.to_string(),
            ));
        }
        targets.sort_unstable();
        if let Some(pair) = targets.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(misfit(
                NAME,
                "a row once",
                format!("row {} twice", pair[0].0),
            ));
        }
        Ok(Self {
            head,
            vocabulary,
            targets,
            scale: Scale::MEAN,
        })
    }

    fn of_sequence(&self, batch: &TrainingBatch, sequence: usize) -> &[(usize, u32)] {
        let rows = batch.rows(sequence);
        let at = |row| self.targets.partition_point(|(target, _)| *target < row);
        &self.targets[at(rows.start)..at(rows.end)]
    }
}

impl Objective for MaskedLm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        match self.targets.last() {
            Some((row, _)) if *row >= batch.tokens() => {
                let expected = format!("rows below {}", batch.tokens());
                Err(misfit(NAME, expected, row.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.head.dense, &self.head.decoder]
    }

    fn reads(&self, batch: &TrainingBatch, sequence: usize) -> Reads {
        let start = batch.rows(sequence).start;
        let targets = self.of_sequence(batch, sequence);
        Reads::Tokens(targets.iter().map(|(row, _)| row - start).collect())
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let step = head.step;
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for span in &head.bundle.spans {
            let start = step.batch.rows(span.sequence).start;
            for (row, id) in self.of_sequence(step.batch, span.sequence) {
                rows.push(span.start + row - start);
                labels.push(*id as usize);
            }
        }
        let mut total = ObjectiveLoss::default();
        let (count, e) = (rows.len(), step.shape.e);
        if count == 0 {
            return total;
        }
        let factor = self.scale.factor(self.targets.len() as f64);

        let MaskedLmHead {
            dense,
            norm,
            decoder,
            is_tied,
        } = &self.head;
        let states = head.gather(&rows);
        let mut inner = vec![0.0; count * e];
        step.dense_without_bias(dense, &states, count, &mut inner);
        let bias = &step.parameters[dense.bias.clone()];
        let mut activated = vec![0.0; count * e];
        activate(
            step.instructions,
            step.shape.activation,
            &inner,
            bias,
            &mut activated,
        );
        let (mut normed, mut deviations) = (vec![0.0; count * e], vec![0.0; count]);
        let mut transformed = vec![0.0; count * e];
        layer_norm(
            step.instructions,
            step.norm(norm),
            &activated,
            None,
            &mut normed,
            &mut deviations,
            &mut transformed,
        );
        head.logits.resize(count * self.vocabulary);
        step.dense_without_bias(decoder, &transformed, count, head.logits);
        let bias = &step.parameters[decoder.bias.clone()];
        for (logits, label) in head.logits.chunks_exact_mut(self.vocabulary).zip(labels) {
            let item = cross_entropy(step.instructions, logits, bias, label, factor);
            total.count(f64::from(item.loss) * f64::from(factor), item.rank);
        }
        if !step.is_training {
            return total;
        }

        column_sums(
            step.instructions,
            head.logits,
            &mut head.gradients[decoder.bias.clone()],
        );
        if !(*is_tied && step.frozen.freezes_embeddings()) {
            head.scratch.pack(&transformed, count, e);
            head.scratch.weight(decoder, head.logits, head.gradients);
        }
        let mut d_inner = transformed;
        step.dense_backward(decoder, head.logits, count, &mut d_inner, Epilogue::Store);
        let ranges = [norm.gamma.clone(), norm.beta.clone()];
        let [gamma, beta] = head
            .gradients
            .get_disjoint_mut(ranges)
            .expect("parameters do not overlap");
        layer_norm_backward(
            step.instructions,
            &step.parameters[norm.gamma.clone()],
            &normed,
            &deviations,
            &mut d_inner,
            NormGradients {
                gamma,
                beta,
                bias: None,
            },
        );
        activate_backward(
            step.instructions,
            step.shape.activation,
            &mut inner,
            &step.parameters[dense.bias.clone()],
            &mut d_inner,
            &mut head.gradients[dense.bias.clone()],
        );
        head.scratch.pack(&states, count, dense.input);
        head.scratch.weight(dense, &d_inner, head.gradients);
        let mut d_states = states;
        step.dense_backward(dense, &d_inner, count, &mut d_states, Epilogue::Store);
        head.scatter(&rows, &d_states);
        total
    }
}
