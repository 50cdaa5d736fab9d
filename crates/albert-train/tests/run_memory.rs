//! The memory of a run does not grow with its steps.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use albert_model::AlbertConfig;
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use albert_train::examples::{Corpus, PretrainingText};
use albert_train::optim::{OptimizerKind, OptimizerSettings};
use albert_train::pretrain::{Pretrain, Start};
use albert_train::{Event, Every, Length, TextTraining, Trainer, TrainerSettings};

const STEPS: u64 = 10_000;

/// The step by which every buffer has its size.
const SETTLED: u64 = 1_000;

/// Growth over the steps after that, in KiB: a leak of 240 bytes a step is more.
const GROWTH: u64 = 2 << 10;

/// The resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let size = line.unwrap().split_whitespace().nth(1);
    size.unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_steps_take_the_memory_of_one_thousand() {
    let dir = tempfile::tempdir().unwrap();
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\non\na\nmat\n.";
    std::fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
    let mut lines = String::new();
    for document in 0..200 {
        for line in 0..6 {
            let word = ["cat", "mat"][(document + line) % 2];
            let _ = writeln!(lines, "the {word} sat on a mat .");
        }
        lines.push('\n');
    }
    let text = dir.path().join("text.txt");
    std::fs::write(&text, lines).unwrap();
    let files = ModelFiles::from_dir(dir.path()).unwrap();
    let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
    let config = AlbertConfig {
        vocab_size: tokenizer.vocab_size(),
        embedding_size: 8,
        hidden_size: 16,
        num_attention_heads: 2,
        intermediate_size: 32,
        num_hidden_layers: 2,
        max_position_embeddings: 32,
        ..AlbertConfig::default()
    };
    let settings = PretrainingText::new(24, 1);
    let corpus = Corpus::open(&[text]).unwrap();
    let start = Start::Random(Box::new(config));
    let text = TextTraining::new(corpus.clone())
        .with_text(settings)
        .with_eval(corpus);
    let mut task = Pretrain::new(start, files, text).prepare().unwrap();
    let optimizer = OptimizerSettings::new(OptimizerKind::AdamW);
    let mut settings = TrainerSettings::new(Length::Steps(STEPS), optimizer, 1e-3);
    settings.batch_size = 4;
    settings.eval_every = Every::Steps(SETTLED / 2);
    settings.save_every = Every::Steps(SETTLED / 2);
    settings.average = Some(0.999);
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let mut trainer = Trainer::start(&mut task, &run, settings).unwrap();
    let mut sizes = Vec::new();
    let mut observer = |event: Event<'_>| {
        if let Event::Step { row, .. } = event
            && row.step.is_multiple_of(SETTLED)
        {
            sizes.push(resident());
        }
    };
    let never = AtomicBool::new(false);
    trainer.run(&mut task, &never, &mut observer).unwrap();
    eprintln!("KiB after each {SETTLED} steps: {sizes:?}");
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    assert!(
        last <= first + GROWTH,
        "{last} KiB after {STEPS} steps, {first} before"
    );
}
