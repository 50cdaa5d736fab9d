//! Compression and distillation: what is kept exactly, what is learned again.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use albert_model::train::{FlatLayout, FlatParameters, PassOptions, TrainingBatch, TrainingPass};
use albert_model::{AlbertConfig, Head, WeightFormat};
use albert_tasks::{Embedder, ModelFiles, RunOptions};
use albert_train::compress::{Compression, GroupInit, piece_counts};
use albert_train::distill::{Distill, DistillWeights, Distillation, Student};
use albert_train::examples::{Corpus, PretrainingText};
use albert_train::optim::{OptimizerKind, OptimizerSettings};
use albert_train::{End, Event, Every, Length, Run, Summary, Task, TextTraining, TrainerSettings};

/// Hidden states whose inputs were factorized without loss: rounding in f32 of values around 1.
const STATES: f32 = 2e-5;

/// Losses of a student that is its teacher: rounding.
const NOTHING: f64 = 1e-6;

const WORDS: usize = 40;

/// A teacher in a folder with a tokenizer of words, and a corpus.
struct Setting {
    dir: tempfile::TempDir,
    config: AlbertConfig,
}

impl Setting {
    /// Writes a teacher whose parameters `change` may replace.
    fn new(change: impl FnOnce(&mut FlatParameters)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
        let letters = ('a'..='e').map(String::from);
        let words = (0..WORDS).map(|word| format!("word{word}"));
        let vocabulary: Vec<String> = special.into_iter().chain(letters).chain(words).collect();
        let config = AlbertConfig {
            vocab_size: vocabulary.len(),
            embedding_size: 16,
            hidden_size: 16,
            num_attention_heads: 2,
            intermediate_size: 32,
            num_hidden_layers: 4,
            num_hidden_groups: 4,
            max_position_embeddings: 32,
            initializer_range: 0.3,
            ..AlbertConfig::default()
        };
        let layout = Arc::new(FlatLayout::new(&config, Head::PreTraining).unwrap());
        let mut parameters = FlatParameters::random(layout, 3);
        change(&mut parameters);
        let checkpoint = parameters.to_checkpoint().unwrap();
        checkpoint.save(dir.path(), WeightFormat::F32).unwrap();
        std::fs::write(dir.path().join("vocab.txt"), vocabulary.join("\n")).unwrap();
        let modules = r#"[
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
        std::fs::write(dir.path().join("modules.json"), modules).unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        let pooling = r#"{"word_embedding_dimension": 16, "pooling_mode_mean_tokens": true}"#;
        std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
        let mut text = String::new();
        for document in 0..60 {
            for line in 0..4 {
                for word in 0..5 {
                    // The last ten words never occur.
                    let word = (document * 7 + line * 3 + word) % (WORDS - 10);
                    let _ = write!(text, "word{word} ");
                }
                text.push('\n');
            }
            text.push('\n');
        }
        std::fs::write(dir.path().join("text.txt"), text).unwrap();
        Self { dir, config }
    }

    fn files(&self) -> ModelFiles {
        ModelFiles::from_dir(self.dir.path()).unwrap()
    }

    fn corpus(&self) -> Corpus {
        Corpus::open(&[self.dir.path().join("text.txt")]).unwrap()
    }

    /// The corpus, trained on without dropout.
    fn training(&self) -> TextTraining {
        TextTraining::new(self.corpus()).with_pass(|pass| {
            pass.slots = Some(2);
            pass.dropout = Some(0.0);
            pass.attention_dropout = Some(0.0);
        })
    }

    fn distill(&self, student: Student, objectives: &str) -> Distill {
        let mut text = PretrainingText::new(24, 1);
        text.mask_probability = 0.2;
        let text = self.training().with_text(text).with_eval(self.corpus());
        Distill::new(student, self.files(), text).with_objectives(objectives.parse().unwrap())
    }

    fn train(&self, student: Student, objectives: &str, steps: u64) -> Summary {
        let mut settings = TrainerSettings::new(
            Length::Steps(steps),
            OptimizerSettings::new(OptimizerKind::AdamW),
            3e-3,
        );
        settings.batch_size = 16;
        settings.eval_every = Every::Steps(steps);
        let folder = self.dir.path().join(format!("out-{objectives}-{steps}"));
        self.distill(student, objectives)
            .run(folder, settings, |_| ())
            .unwrap()
    }
}

fn loss(summary: &Summary, name: &str) -> f64 {
    let evaluation = summary.evaluation.as_ref().unwrap();
    let found = evaluation.iter().find(|(metric, _)| metric == name);
    found
        .unwrap_or_else(|| panic!("{name} in {evaluation:?}"))
        .1
}

/// The states of some tokens after a number of repetitions.
fn states(parameters: &FlatParameters, repetition: usize) -> Vec<f32> {
    let mut batch = TrainingBatch::new();
    batch.push(&[2, 17, 4, 31, 3], &[0, 0, 0, 1, 1]);
    batch.push(&[2, 11, 3], &[0; 3]);
    let layout = parameters.layout();
    let options = PassOptions::new(layout.config());
    let mut pass = TrainingPass::new(Arc::clone(layout), options).unwrap();
    let mut states = pass
        .hidden_states(parameters, &batch, &[repetition])
        .unwrap();
    states.swap_remove(0)
}

fn compressed(setting: &Setting, change: impl FnOnce(&mut Compression)) -> Student {
    let mut compression = Compression::default();
    change(&mut compression);
    let tokenizer =
        albert_tasks::Tokenizer::load(&setting.files(), &albert_tasks::TokenizerOptions::default());
    let counts = piece_counts(&setting.corpus(), &tokenizer.unwrap()).unwrap();
    compression
        .apply(&setting.files(), Some(&counts), 1)
        .unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_model_of_the_same_sizes_is_the_original() {
    let setting = Setting::new(|_| ());
    let checkpoint = setting.files().checkpoint().unwrap();
    let layout = Arc::new(FlatLayout::new(&setting.config, Head::PreTraining).unwrap());
    let (original, _) = FlatParameters::from_checkpoint(&checkpoint, layout, 0).unwrap();
    let student = compressed(&setting, |_| ());
    assert!(student.new_tensors.is_empty(), "{:?}", student.new_tensors);
    assert_eq!(student.parameters.values(), original.values());

    // Masked text is compared with the teacher's states without masks, where they differ.
    for (objectives, losses) in [
        (
            "embeddings,hidden-states",
            &["vectors_loss", "similarities_loss", "hidden_states_loss"][..],
        ),
        ("masked-lm", &["masked_logits_loss"]),
    ] {
        let student = compressed(&setting, |_| ());
        let mut task = setting.distill(student, objectives).prepare().unwrap();
        let evaluation = task.evaluate().unwrap().unwrap();
        for name in losses {
            let found = evaluation.iter().find(|(metric, _)| metric == name);
            let loss = found.unwrap().1.abs();
            assert!(loss < NOTHING, "{name}: {loss:e}");
        }
    }
}

#[test]
fn a_narrow_embedding_loses_nothing_that_its_axes_hold() {
    // A projection of rank 4, and neither positions nor types: 6 - 2 axes hold every piece.
    let setting = Setting::new(|parameters| {
        let layout = Arc::clone(parameters.layout());
        for name in ["position_embeddings", "token_type_embeddings"] {
            let name = format!("albert.embeddings.{name}.weight");
            let range = layout.tensor(&name).unwrap().range.clone();
            parameters.values_mut()[range].fill(0.0);
        }
        let projection = layout.tensor("albert.encoder.embedding_hidden_mapping_in.weight");
        let range = projection.unwrap().range.clone();
        for (index, row) in parameters.values_mut()[range]
            .chunks_exact_mut(16)
            .enumerate()
        {
            for (column, value) in row.iter_mut().enumerate() {
                *value = ((index + 1) * (column % 4 + 1)) as f32 % 7.0 / 7.0 - 0.4;
            }
        }
    });
    let student = compressed(&setting, |sizes| sizes.embedding_size = Some(6));
    let original = compressed(&setting, |_| ());
    let config = student.parameters.layout().config();
    assert_eq!((config.embedding_size, config.num_hidden_groups), (6, 4));
    for repetition in [0, 4] {
        let [a, b] = [&student, &original].map(|it| states(&it.parameters, repetition));
        let difference = largest_difference(&a, &b);
        assert!(difference < STATES, "after {repetition}: {difference:e}");
    }
    let narrower = compressed(&setting, |sizes| sizes.embedding_size = Some(4));
    let [a, b] = [&narrower, &original].map(|it| states(&it.parameters, 0));
    assert!(largest_difference(&a, &b) > 100.0 * STATES);
}

#[test]
fn a_group_starts_as_a_layer_of_its_stretch_or_their_mean() {
    let setting = Setting::new(|_| ());
    let original = compressed(&setting, |_| ());
    let weight = |student: &Student, group: usize| -> Vec<f32> {
        let name = format!("albert.encoder.albert_layer_groups.{group}.albert_layers.0.ffn.weight");
        student.parameters.tensor(&name).unwrap().to_vec()
    };
    let layers: Vec<Vec<f32>> = (0..4).map(|layer| weight(&original, layer)).collect();
    let mean = |a: usize, b: usize| -> Vec<f32> {
        let pairs = layers[a].iter().zip(&layers[b]);
        pairs.map(|(a, b)| a * 0.5 + b * 0.5).collect()
    };
    for (init, expected) in [
        (GroupInit::First, [layers[0].clone(), layers[2].clone()]),
        (GroupInit::Last, [layers[1].clone(), layers[3].clone()]),
        (GroupInit::Mean, [mean(0, 1), mean(2, 3)]),
    ] {
        let student = compressed(&setting, |sizes| {
            sizes.groups = Some(2);
            sizes.group_init = init;
        });
        for (group, expected) in expected.iter().enumerate() {
            assert_eq!(&weight(&student, group), expected, "{init} {group}");
        }
    }
    // Two of four layers: the second and the fourth.
    let student = compressed(&setting, |sizes| {
        sizes.layers = Some(2);
        sizes.groups = Some(2);
    });
    assert_eq!(weight(&student, 0), layers[1]);
    assert_eq!(weight(&student, 1), layers[3]);
}

#[test]
fn rare_pieces_are_removed_with_their_rows() {
    let setting = Setting::new(|_| ());
    let original = compressed(&setting, |_| ());
    // 5 special tokens, 5 letters and the 30 words of the text.
    let student = compressed(&setting, |sizes| sizes.vocabulary = Some(40));
    assert_eq!(student.parameters.layout().config().vocab_size, 40);
    let vocabulary = student.files.read("vocab.txt").unwrap().unwrap();
    let vocabulary = String::from_utf8(vocabulary.into_owned()).unwrap();
    assert_eq!(vocabulary.lines().count(), 40);
    assert!(vocabulary.ends_with("word29\n"), "{vocabulary}");
    let table = "albert.embeddings.word_embeddings.weight";
    let [new, old] = [&student, &original].map(|it| it.parameters.tensor(table).unwrap());
    assert_eq!(new, &old[..40 * 16]);
    let summary = setting.train(student, "hidden-states,masked-lm", 20);
    assert!(loss(&summary, "hidden_states_loss").is_finite());

    let compression = |size| {
        let mut compression = Compression::default();
        compression.vocabulary = Some(size);
        let counts = vec![1; setting.config.vocab_size];
        let result = compression.apply(&setting.files(), Some(&counts), 1);
        result.unwrap_err().to_string()
    };
    assert!(compression(9).contains("at least its 10 special tokens"));
    assert!(compression(99).contains("at most the tokenizer's 50 pieces"));
}

#[test]
fn a_student_learns_what_its_teacher_knows() {
    let setting = Setting::new(|_| ());
    let student = || {
        compressed(&setting, |sizes| {
            sizes.groups = Some(2);
            sizes.embedding_size = Some(8);
        })
    };
    let objectives = "embeddings=2,hidden-states,masked-lm,pretraining=0.5";
    let (short, long) = (
        setting.train(student(), objectives, 2),
        setting.train(student(), objectives, 150),
    );
    for (name, share) in [
        ("vectors_loss", 0.5),
        ("hidden_states_loss", 0.6),
        ("masked_logits_loss", 0.8),
    ] {
        let (before, after) = (loss(&short, name), loss(&long, name));
        assert!(after < before * share, "{name}: {before} to {after}");
    }
    let folder = setting.dir.path().join(format!("out-{objectives}-150"));
    assert_loads(&folder);
}

/// Loads the result with its pooling and its tokenizer.
fn assert_loads(folder: &Path) {
    assert!(folder.join("1_Pooling/config.json").exists());
    let files = ModelFiles::from_dir(folder).unwrap();
    let embedder = Embedder::load(&files, &RunOptions::default());
    let vectors = embedder.unwrap().embed(&["word1 word2"]).unwrap();
    assert_eq!(vectors[0].vector.len(), 16);
}

#[test]
fn a_head_that_no_objective_reaches_is_kept_as_it_is() {
    let setting = Setting::new(|_| ());
    let student = compressed(&setting, |sizes| sizes.groups = Some(2));
    let names = [
        "predictions.dense.weight",
        "sop_classifier.classifier.weight",
        "albert.pooler.weight",
    ];
    let before = names.map(|name| student.parameters.tensor(name).unwrap().to_vec());
    setting.train(student, "hidden-states", 10);
    let files = ModelFiles::from_dir(setting.dir.path().join("out-hidden-states-10")).unwrap();
    let student = Student::load(files, Head::PreTraining, None, 0).unwrap();
    for (name, before) in names.iter().zip(before) {
        assert_eq!(student.parameters.tensor(name).unwrap(), before, "{name}");
    }
}

#[test]
fn models_that_do_not_fit_each_other_are_refused() {
    let setting = Setting::new(|_| ());
    let encoder = Student::load(setting.files(), Head::Encoder, None, 0).unwrap();
    let refused = setting.distill(encoder, "masked-lm").prepare().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`student`: expected a masked-LM head for objectives on masked tokens, found a model without it"
    );
    let mut compression = Compression::default();
    for (groups, layers, message) in [
        (
            Some(5),
            None,
            "`groups`: expected 1 to the 4 layers, found 5",
        ),
        (
            None,
            Some(5),
            "`layers`: expected 1 to the model's 4 layers, found 5",
        ),
    ] {
        compression.groups = groups;
        compression.layers = layers;
        let error = compression.apply(&setting.files(), None, 1).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let weights = DistillWeights::default();
    assert_eq!(weights.head(Head::MaskedLm, true), Head::MaskedLm);
}

#[test]
fn a_file_of_vectors_is_a_teacher() {
    let setting = Setting::new(|_| ());
    let embedder = Embedder::load(&setting.files(), &RunOptions::default()).unwrap();
    let text = std::fs::read_to_string(setting.dir.path().join("text.txt")).unwrap();
    let sentences: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let rows = embedder.embed(&sentences).unwrap().into_iter();
    let rows = rows.map(|row| format!("{{\"embedding\": {:?}}}\n", row.vector));
    let rows: Vec<String> = rows.collect();
    let path = setting.dir.path().join("vectors.jsonl");
    std::fs::write(&path, rows.concat()).unwrap();
    let student = || compressed(&setting, |sizes| sizes.groups = Some(2));
    let distill = |path: &Path| Distill::from_vectors(student(), path, setting.training());
    // The teacher's own vectors are what the teacher says: the same losses.
    let losses = |task: &mut Distillation| -> Vec<f64> {
        let steps = (1..4).map(|step| task.accumulate(step, 16, 1).unwrap().loss);
        steps.collect()
    };
    let mut from_file = distill(&path).prepare().unwrap();
    let mut text = PretrainingText::new(128, 42);
    text.in_file_order = true;
    let text = setting.training().with_text(text);
    let mut from_model = Distill::new(student(), setting.files(), text)
        .with_objectives("embeddings=2".parse().unwrap())
        .prepare()
        .unwrap();
    for (file, model) in losses(&mut from_file).iter().zip(losses(&mut from_model)) {
        assert!((file - model).abs() < NOTHING, "{file} {model}");
    }

    std::fs::write(&path, rows[1..].concat()).unwrap();
    let refused = distill(&path).prepare().unwrap_err().to_string();
    assert!(
        refused.contains("a vector for each of 240 sentences") && refused.ends_with("found 239"),
        "{refused}"
    );
    let refused = distill(Path::new("vectors.txt")).prepare().unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("expected a folder, or vectors")
    );
    std::fs::write(&path, rows.concat()).unwrap();
    let task = distill(&path).with_objectives("hidden-states".parse().unwrap());
    let refused = task.prepare().unwrap_err().to_string();
    assert!(
        refused.contains("expected a model for the objective"),
        "{refused}"
    );
}

#[test]
fn a_stopped_distillation_continues_with_the_same_bits() {
    let setting = Setting::new(|_| ());
    let student = || compressed(&setting, |sizes| sizes.groups = Some(2));
    let objectives = "embeddings,hidden-states,pretraining";
    let mut settings = TrainerSettings::new(
        Length::Steps(9),
        OptimizerSettings::new(OptimizerKind::AdamW),
        3e-3,
    );
    settings.batch_size = 16;
    let never = AtomicBool::new(false);
    let mut whole = setting.distill(student(), objectives).prepare().unwrap();
    let run = Run::new(setting.dir.path().join("whole")).unwrap();
    let training = run.start(&mut whole, settings.clone(), "").unwrap();
    training.train(&never, &mut |_| ()).unwrap();

    let folder = setting.dir.path().join("parts");
    let mut first = setting.distill(student(), objectives).prepare().unwrap();
    let stop = AtomicBool::new(false);
    let run = Run::new(&folder).unwrap();
    let training = run.start(&mut first, settings.clone(), "").unwrap();
    let summary = training.train(&stop, &mut |event| {
        if let Event::Step { row, .. } = event {
            stop.store(row.step == 4, Ordering::Relaxed);
        }
    });
    assert_eq!(summary.unwrap().end, End::Stopped);
    let run = Run::resume(&folder).unwrap();
    let resumed = Student::resumed(run.snapshot().unwrap()).unwrap().unwrap();
    let mut second = setting.distill(resumed, objectives).prepare().unwrap();
    let training = run.start(&mut second, settings, "").unwrap();
    training.train(&never, &mut |_| ()).unwrap();
    assert_eq!(second.parameters().values(), whole.parameters().values());
    for file in [
        "config.json",
        "vocab.txt",
        "modules.json",
        "1_Pooling/config.json",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert!(!folder.join("training/start").exists());
}

#[test]
fn epochs_count_sentences() {
    let setting = Setting::new(|_| ());
    let student = compressed(&setting, |_| ());
    let mut task = setting.distill(student, "embeddings").prepare().unwrap();
    assert_eq!(task.steps(1.0, 16).unwrap(), 15); // 240 sentences
}
