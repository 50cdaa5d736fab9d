//! The commands. Each file holds one command with its options and its output row.

pub(crate) mod answer;
pub(crate) mod bench;
pub(crate) mod choose;
pub(crate) mod classify;
pub(crate) mod completions;
#[cfg(feature = "train")]
pub(crate) mod compress;
pub(crate) mod convert;
#[cfg(feature = "train")]
pub(crate) mod distill;
#[cfg(feature = "hub")]
pub(crate) mod download;
pub(crate) mod embed;
#[cfg(feature = "train")]
pub(crate) mod evaluate;
pub(crate) mod fill_mask;
#[cfg(feature = "train")]
pub(crate) mod finetune;
pub(crate) mod forward;
pub(crate) mod inspect;
pub(crate) mod man;
#[cfg(feature = "hub")]
pub(crate) mod models;
pub(crate) mod neighbors;
pub(crate) mod order;
#[cfg(feature = "train")]
pub(crate) mod pretrain;
pub(crate) mod rerank;
pub(crate) mod score;
pub(crate) mod search;
#[cfg(feature = "server")]
pub(crate) mod serve;
pub(crate) mod similarity;
pub(crate) mod tag;
pub(crate) mod tokenize;
#[cfg(feature = "train")]
mod training;
pub(crate) mod verify;
pub(crate) mod zero_shot;

use albert_tasks::Tokenizer;

use crate::progress::Talk;

/// Warns, after the texts are read, if stripping accents removed more than accents from some of
/// them.
fn say_dropped_marks(tokenizer: &Tokenizer, talk: Talk) {
    if tokenizer.dropped_marks() {
        talk.say(
            "the tokenizer strips accents and, in some texts, marks that spell words, such as the virama of Hindi",
        );
        talk.say("hint: keep them with --keep-accents true if the model was trained with them");
    }
}
