//! Trained weights of base size, an extra that the repository is too small for: PL-BERT (Kokoro-82M), 12
//! repetitions of a layer 768 wide, with hidden states computed in float64 by numpy.
//!
//! `ALBERT_DATA` names the folder that holds `pl-bert/`.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};

use albert_model::candle_core::{Device, Tensor, safetensors};
use albert_model::{AlbertModel, Checkpoint, LoadOptions, ModelInput, Outputs, Pretrained};

/// f32 sums of up to 2048 terms through 12 repetitions, against float64.
const TOLERANCE: f64 = 1e-5;

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/pl-bert");
    match std::env::var_os("ALBERT_DATA") {
        Some(data) => Some(PathBuf::from(data).join("pl-bert")),
        None => Some(beside).filter(|data| data.exists()),
    }
}

#[test]
fn pl_bert_has_the_hidden_states_of_its_reference() -> anyhow::Result<()> {
    let Some(data) = data() else {
        // Past the capture of tests' output: that nothing was compared must be seen.
        writeln!(std::io::stderr(), "SKIPPED: ALBERT_DATA is not set; no trained weights were compared")?;
        return Ok(());
    };
    let checkpoint = Checkpoint::from_dir(&data)?;
    let (model, report) = AlbertModel::load(&checkpoint, &LoadOptions::default())?;
    assert_eq!(report.missing, ["albert.pooler.weight", "albert.pooler.bias"]);

    let reference = safetensors::load(data.join("reference.safetensors"), &Device::Cpu)?;
    let run = |ids: &Tensor| {
        model.forward(&ModelInput::new(ids.unsqueeze(0)?).with_outputs(Outputs::HIDDEN_STATES))
    };
    let states = run(&reference["ids_0"])?.hidden_states.expect("asked for");
    assert_eq!(states.len(), 13);
    for (index, state) in states.iter().enumerate() {
        let delta = support::relative_difference(&reference["hidden_0"].get(index)?, &state.squeeze(0)?)?;
        assert!(delta <= TOLERANCE, "hidden state {index}: {delta:e}");
    }
    let last = run(&reference["ids_2"])?.last_hidden_state;
    let delta = support::relative_difference(&reference["hidden_2"], &last)?;
    assert!(delta <= TOLERANCE, "128 tokens: {delta:e}");
    Ok(())
}
