//! The optimizers against PyTorch's and Google's, by 50 steps on the same gradients
//! (`scripts/make_optimizer_fixtures.py`).

use albert_train::optim::{Groups, Optimizer, OptimizerKind, OptimizerSettings, Tensor};
use safetensors::SafeTensors;

const FIXTURE: &[u8] = include_bytes!("fixtures/optimizers.safetensors");
const NAMES: [&str; 3] = ["layer.weight", "layer.LayerNorm.weight", "layer.bias"];
const STEPS: usize = 50;
const LEARNING_RATE: f64 = 1e-2;

/// Both sides in f32, weights of up to 3 after 50 steps of 1e-2.
const ADAMW_TOLERANCE: f32 = 1e-6;

/// f32 against float64 over 50 steps: each rounds once by half of 2e-7 for weights of up to 3.
const LAMB_TOLERANCE: f32 = 5e-6;

/// f32 against float64: the iteration's coefficients enlarge the rounding of each step.
const MUON_TOLERANCE: f32 = 2e-5;

fn read(tensors: &SafeTensors<'_>, name: &str) -> (Vec<f32>, Vec<usize>) {
    let tensor = tensors.tensor(name).unwrap();
    let bytes = tensor.data().chunks_exact(4);
    let values = bytes
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    (values, tensor.shape().to_vec())
}

/// The largest difference from the expected weights of these tensors.
fn difference(kind: OptimizerKind, names: &[&str]) -> f32 {
    let fixture = SafeTensors::deserialize(FIXTURE).unwrap();
    let (mut parameters, mut tensors) = (Vec::new(), Vec::new());
    for name in names {
        let (values, shape) = read(&fixture, &format!("start.{name}"));
        let start = parameters.len();
        parameters.extend(values);
        tensors.push(Tensor {
            name: (*name).into(),
            range: start..parameters.len(),
            decays: shape.len() == 2,
            is_hidden_matrix: shape.len() == 2,
            is_frozen: false,
            shape,
        });
    }
    let mut settings = OptimizerSettings::new(kind);
    settings.weight_decay = 0.1;
    let groups = Groups::new(parameters.len(), tensors);
    let mut optimizer = Optimizer::new(settings, groups.clone()).unwrap();
    for step in 0..STEPS {
        let mut gradients = Vec::new();
        for tensor in groups.tensors() {
            let (all, _) = read(&fixture, &format!("gradients.{}", tensor.name));
            let len = tensor.range.len();
            gradients.extend_from_slice(&all[step * len..(step + 1) * len]);
        }
        optimizer.step(&mut parameters, &gradients, LEARNING_RATE);
    }
    let mut largest = 0f32;
    for tensor in groups.tensors() {
        let (expected, _) = read(&fixture, &format!("{kind}.{}", tensor.name));
        for (found, expected) in parameters[tensor.range.clone()].iter().zip(expected) {
            largest = largest.max((found - expected).abs());
        }
    }
    largest
}

#[test]
fn adamw_is_torchs() {
    let difference = difference(OptimizerKind::AdamW, &NAMES);
    assert!(difference <= ADAMW_TOLERANCE, "{difference:e}");
}

#[test]
fn lamb_is_googles_with_its_exclusions() {
    let difference = difference(OptimizerKind::Lamb, &NAMES);
    assert!(difference <= LAMB_TOLERANCE, "{difference:e}");
}

#[test]
fn muon_is_torchs_formula() {
    let difference = difference(OptimizerKind::Muon, &["layer.weight"]);
    assert!(difference <= MUON_TOLERANCE, "{difference:e}");
}

#[test]
fn frozen_tensors_keep_their_values() {
    let tensor = |name: &str, range, is_frozen| Tensor {
        name: name.into(),
        range,
        shape: vec![2],
        decays: false,
        is_hidden_matrix: false,
        is_frozen,
    };
    let groups = Groups::new(4, vec![tensor("a", 0..2, true), tensor("b", 2..4, false)]);
    let mut optimizer =
        Optimizer::new(OptimizerSettings::new(OptimizerKind::AdamW), groups).unwrap();
    let mut parameters = [1.0; 4];
    optimizer.step(&mut parameters, &[1.0; 4], LEARNING_RATE);
    assert_eq!(parameters[..2], [1.0; 2]);
    assert!(parameters[2..].iter().all(|&w| w < 1.0));
}
