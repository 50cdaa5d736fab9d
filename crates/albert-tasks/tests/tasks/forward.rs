//! The network's tensors by name.

use albert_tasks::albert_model::candle_core::{self, DType, Device, Tensor};
use albert_tasks::{ForwardOutput, Forwarder, RunOptions};

use crate::support::{Folder, message, tiny};

const IDS: [u32; 5] = [2, 17, 4, 9, 3];

fn shapes(forwarder: &Forwarder) -> Vec<(String, Vec<usize>)> {
    let tensors = forwarder.run(&IDS, None, None).unwrap();
    tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.dims().to_vec()))
        .collect()
}

fn expect(shapes: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    shapes
        .iter()
        .map(|(name, shape)| (name.to_string(), shape.to_vec()))
        .collect()
}

#[test]
fn the_default_is_the_last_hidden_state_and_the_pooler() {
    let forwarder = Forwarder::load(&tiny(), &RunOptions::default(), &[]).unwrap();
    assert_eq!(
        shapes(&forwarder),
        expect(&[
            ("last_hidden_state", &[1, 5, 24]),
            ("pooler_output", &[1, 24])
        ])
    );
}

#[test]
fn everything_has_its_name_and_shape() {
    let outputs = [
        ForwardOutput::HiddenStates,
        ForwardOutput::Attentions,
        ForwardOutput::Logits,
    ];
    let forwarder = Forwarder::load(&tiny(), &RunOptions::default(), &outputs).unwrap();
    let vocab_size = forwarder.config().vocab_size;
    let mut expected: Vec<(String, Vec<usize>)> = (0..4)
        .map(|layer| (format!("hidden_states.{layer}"), vec![1, 5, 24]))
        .collect();
    expected.extend((0..3).map(|layer| (format!("attentions.{layer}"), vec![1, 3, 5, 5])));
    expected.extend(expect(&[
        ("logits", &[1, 5, vocab_size]),
        ("sop_logits", &[1, 2]),
    ]));
    assert_eq!(shapes(&forwarder), expected);
}

/// `id2label` of another task may have given the sentence-order head more than two rows.
#[test]
fn a_sentence_order_head_of_any_width_is_written() {
    const LABELS: usize = 5;
    let folder = Folder::new().edit("config.json", |config| {
        let names = (0..LABELS).map(|label| (label.to_string(), format!("LABEL_{label}").into()));
        config["id2label"] = serde_json::Value::Object(names.collect());
    });
    let weights = folder.path("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
    for (name, tensor) in &mut tensors {
        if name.contains("sop_classifier") {
            let mut shape = tensor.dims().to_vec();
            shape[0] = LABELS;
            *tensor = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        }
    }
    candle_core::safetensors::save(&tensors, &weights).unwrap();
    let outputs = [ForwardOutput::Logits];
    let forwarder = Forwarder::load(&folder.files(), &RunOptions::default(), &outputs).unwrap();
    assert_eq!(
        shapes(&forwarder)[1],
        ("sop_logits".to_string(), vec![1, LABELS])
    );
}

#[test]
fn no_tokenizer_is_needed() {
    let folder = Folder::new().without("tokenizer.json");
    let forwarder = Forwarder::load(
        &folder.files(),
        &RunOptions::default(),
        &[ForwardOutput::Logits],
    )
    .unwrap();
    assert_eq!(shapes(&forwarder).len(), 2);
}

#[test]
fn an_all_zero_mask_stays_finite() {
    let forwarder = Forwarder::load(&tiny(), &RunOptions::default(), &[]).unwrap();
    if let Ok(tensors) = forwarder.run(&IDS, None, Some(&[0; 5])) {
        for (name, tensor) in tensors {
            let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            assert!(values.iter().all(|value| value.is_finite()), "{name}");
        }
    }
}

#[test]
fn wrong_input_is_an_error() {
    let forwarder = Forwarder::load(&tiny(), &RunOptions::default(), &[]).unwrap();
    let run = |ids: &[u32], types: Option<&[u32]>, mask: Option<&[u32]>| {
        message(forwarder.run(ids, types, mask))
    };
    assert_eq!(
        run(&[], None, None),
        "ids: expected at least 1 values, found 0"
    );
    assert_eq!(
        run(&IDS, Some(&[0]), None),
        "type ids: expected 5 values, found 1"
    );
    assert_eq!(
        run(&IDS, None, Some(&[1; 6])),
        "mask: expected 5 values, found 6"
    );
    for ids in [vec![999_999], vec![2; 49]] {
        assert!(!run(&ids, None, None).is_empty());
    }
}

#[test]
fn logits_of_a_model_without_head_are_refused() {
    let bare = Folder::new().edit("config.json", |config| {
        config["architectures"] = serde_json::json!(["AlbertModel"])
    });
    // The weights decide: they still hold both pretraining heads.
    assert!(
        Forwarder::load(
            &bare.files(),
            &RunOptions::default(),
            &[ForwardOutput::Logits]
        )
        .is_ok()
    );
}
