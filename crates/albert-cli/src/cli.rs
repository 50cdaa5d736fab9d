//! The command tree.
//!
//! The options of one command are in its file in `commands`, those that several share in `options`.

use clap::{Parser, Subcommand};

#[cfg(feature = "server")]
use crate::commands::serve;
use crate::commands::{
    answer, bench, choose, classify, completions, convert, embed, fill_mask, forward, inspect, man,
    neighbors, order, rerank, score, search, similarity, tag, tokenize, verify, zero_shot,
};
#[cfg(feature = "train")]
use crate::commands::{compress, distill, evaluate, finetune, pretrain};
#[cfg(feature = "hub")]
use crate::commands::{download, models};

/// Run ALBERT models from the shell: embeddings, masked tokens and more
#[derive(Debug, Parser)]
#[command(name = "albert-cli", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  albert-cli fill-mask 'Paris is the [MASK] of France.'
  albert-cli embed 'A first sentence.' 'And a second one.' --format jsonl")]
pub(crate) struct Cli {
    /// Write nothing to stderr but errors
    #[arg(long, global = true)]
    pub(crate) quiet: bool,

    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn texts into vectors (embeddings)
    Embed(embed::EmbedArgs),
    /// Fill in the masked words of a text
    ///
    /// Masked language modeling. Without a text, on a terminal, the command is interactive: `_` is
    /// short for the mask token, and `:help` lists the commands.
    FillMask(fill_mask::FillMaskArgs),
    /// Measure how well texts fit the model
    ///
    /// Computes the pseudo-log-likelihood: each token in turn is masked, and the natural logarithms
    /// of the probabilities of the original tokens are summed. The special tokens around a text are
    /// not masked.
    Score(score::ScoreArgs),
    /// Label texts with the labels a model was fine-tuned for
    ///
    /// Text classification. The built-in model is not fine-tuned: choose another with --model.
    Classify(classify::ClassifyArgs),
    /// Label texts with labels of your own
    ///
    /// Zero-shot classification. Needs a natural language inference (NLI) model, chosen with
    /// --model: the score of a label is the probability that the text entails a sentence with that
    /// label.
    ZeroShot(zero_shot::ZeroShotArgs),
    /// Find named entities: people, places and other labeled spans
    ///
    /// Named entity recognition (NER) and other token classification. Needs a model fine-tuned to
    /// label tokens, chosen with --model.
    #[command(visible_alias = "ner")]
    Tag(tag::TagArgs),
    /// Answer questions from a context
    ///
    /// Extractive question answering. A long context is read in overlapping windows. Needs a model
    /// fine-tuned on a data set such as SQuAD, chosen with --model.
    #[command(visible_alias = "qa")]
    Answer(answer::AnswerArgs),
    /// Pick the best of several choices for a text
    ///
    /// Needs a model fine-tuned for multiple choice on a data set such as RACE, chosen with
    /// --model.
    Choose(choose::ChooseArgs),
    /// Predict which of two texts comes first, or sort sentences
    ///
    /// Sentence order prediction. Needs a model with the sentence order head of ALBERT's
    /// pretraining. The head of the built-in model is undertrained: its answers are little better
    /// than chance.
    Order(order::OrderArgs),
    /// Compare two texts by meaning
    Similarity(similarity::SimilarityArgs),
    /// Find the texts closest to a query by meaning (semantic search)
    Search(search::SearchArgs),
    /// Rank texts by their relevance to a query (cross-encoder)
    ///
    /// Each text is read together with the query. Needs a cross-encoder, a model fine-tuned to give
    /// a pair of texts one score, chosen with --model.
    Rerank(rerank::RerankArgs),
    /// Find near-duplicates: the pairs of texts that are most similar
    ///
    /// Every pair is compared, so the time grows with the square of the number of texts. One vector
    /// per text is held in memory.
    Neighbors(neighbors::NeighborsArgs),
    /// Split texts into the tokens that enter a model
    Tokenize(tokenize::TokenizeArgs),
    /// Write the raw tensors of one forward pass to a file
    Forward(forward::ForwardArgs),
    /// Show the parts of a model and how it is read
    Inspect(inspect::InspectArgs),
    /// Download a model from the Hugging Face Hub into the cache
    ///
    /// Prints the folder with the model's files. Only the configuration, one set of weights and the
    /// tokenizer are downloaded; interrupted downloads resume. Any command that loads a model by
    /// name downloads the same files if the cache lacks them; this command also checks whether the
    /// branch has moved.
    ///
    /// The cache is shared with Python's huggingface_hub. These environment variables are honored:
    /// HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY,
    /// SSL_CERT_FILE.
    #[cfg(feature = "hub")]
    Download(download::DownloadArgs),
    /// List the built-in and the cached models
    ///
    /// Shows the size and the revisions of each model, and the files that could be removed from the
    /// cache.
    #[cfg(feature = "hub")]
    Models(models::ModelsArgs),
    /// Convert a model in any layout to a folder with model.safetensors
    ///
    /// The configuration and the tokenizer's files are copied, so --model accepts the new folder.
    Convert(convert::ConvertArgs),
    /// Train a model on text: masked language modeling and sentence order
    ///
    /// Examples are built while the text is read, in constant memory. The output folder holds the
    /// model in Hugging Face's layout and, in `training`, the log, the loss curve, and the
    /// snapshots from which an interrupted run resumes. Trains on the CPU, or on a
    /// GPU by Candle's autograd.
    #[cfg(feature = "train")]
    Pretrain(Box<pretrain::PretrainArgs>),
    /// Train a model to imitate another one
    ///
    /// Distillation: the model learns the teacher's sentence embeddings, hidden states and masked
    /// tokens on text. The folder --output is a model like any other.
    #[cfg(feature = "train")]
    Distill(Box<distill::DistillArgs>),
    /// Compress a BERT or an ALBERT into a smaller ALBERT
    ///
    /// Layers are merged into groups, the embeddings are factorized, and layers and rare pieces can
    /// be left out. With --train, the result is then trained to imitate the original.
    #[cfg(feature = "train")]
    Compress(Box<compress::CompressArgs>),
    /// Fine-tune a model for a task from examples with labels
    ///
    /// Text classification, regression, multi-label classification, named entities, question
    /// answering, multiple choice and sentence similarity. The task's command and transformers can
    /// load the output folder. Trains on the CPU, or on a GPU by Candle's autograd.
    #[cfg(feature = "train")]
    #[command(name = "finetune", visible_alias = "fine-tune")]
    FineTune(Box<finetune::FineTuneArgs>),
    /// Measure how well a model does a task
    ///
    /// Writes one row with the loss and the metrics of the task: those of scikit-learn, SciPy, seqeval
    /// and SQuAD's script.
    #[cfg(feature = "train")]
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Serve models over HTTP, on the routes of OpenAI and others
    ///
    /// Answers /v1/embeddings as OpenAI does, /embed, /rerank and /predict as
    /// text-embeddings-inference, and more; /openapi.json describes all routes. After SIGTERM the
    /// server finishes the accepted requests and ends. API keys come from --api-key-file and from
    /// the environment variable API_KEY.
    #[cfg(feature = "server")]
    Serve(Box<serve::ServeArgs>),
    /// Compare a model's hidden states under two settings
    ///
    /// The model runs with the command's own settings and with those of --against, and the last
    /// hidden states are compared token by token: `max_abs` is the largest difference between two
    /// values, `min_cosine` the smallest cosine between the two vectors of a token, and
    /// `worst_index` the text with the largest difference. Without texts, a few built-in ones are
    /// compared.
    Verify(verify::VerifyArgs),
    /// Measure how fast a model runs on this machine
    ///
    /// Times the encoder on one short text, one long text, eight long texts and 32 texts of varying
    /// length, and shows the median of several rounds after a warm-up round. Tokenization is not
    /// included.
    Bench(bench::BenchArgs),
    /// Print the completion script for a shell
    ///
    /// For bash, save it as ~/.local/share/bash-completion/completions/albert-cli; for zsh, as
    /// _albert-cli in a folder of $fpath; for fish, as ~/.config/fish/completions/albert-cli.fish.
    Completions(completions::CompletionsArgs),
    /// Write the manual pages of all commands to a folder
    ///
    /// `man -l man1/albert-cli-embed.1` shows a page from that folder; pages in
    /// ~/.local/share/man/man1 are found by name.
    Man(man::ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    use crate::progress::Talk;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    /// The default width of a terminal.
    const TERMINAL_COLUMNS: usize = 80;

    #[test]
    fn every_command_ends_its_help_with_two_examples() {
        for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
            let name = command.get_name();
            let help = command
                .get_after_help()
                .unwrap_or_else(|| panic!("{name}: no examples"));
            let help = help.to_string();
            let examples = help
                .lines()
                .filter(|line| line.contains("albert-cli "))
                .count();
            assert!(help.starts_with("Examples:\n"), "{name}: {help}");
            assert_eq!(examples, 2, "{name}: {help}");
            // A longer line wraps, and a wrapped command would be two commands in a shell.
            assert!(
                help.lines()
                    .all(|line| line.chars().count() <= TERMINAL_COLUMNS),
                "{name}: {help}"
            );
        }
    }

    #[test]
    fn every_help_text_begins_short_and_without_a_period() {
        for command in Cli::command().get_subcommands() {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                about.len() < 70 && !about.ends_with('.'),
                "{}: {about}",
                command.get_name()
            );
            for argument in command.get_arguments() {
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let first = help.lines().next().unwrap_or_default();
                assert!(
                    !first.is_empty() && !first.ends_with('.'),
                    "{}",
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn what_is_said_of_the_computation_reaches_it() {
        let arguments = [
            "albert-cli",
            "score",
            "a",
            "--max-length",
            "9",
            "--batch-tokens",
            "7",
        ];
        let Command::Score(args) = Cli::parse_from(arguments).command else {
            panic!("expected `score`")
        };
        let options = args
            .texts
            .compute
            .run_options(&args.texts.model, Talk::new(true))
            .unwrap();
        assert_eq!(
            (options.max_length, options.batch_tokens),
            (Some(9), Some(7))
        );
    }
}
