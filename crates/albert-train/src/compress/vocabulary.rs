//! Fewer pieces: those that a text uses, and a tokenizer without the others.

use albert_formats::json;
use albert_tasks::{ModelFiles, Tokenizer};
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::examples::Corpus;

/// The bytes of text in which pieces are counted.
const COUNTED_BYTES: usize = 16 << 20;

/// The bytes of documents that are tokenized together.
const PART_BYTES: usize = 4 << 20;

/// Counts how often each piece of a tokenizer occurs in the first 16 MB of a corpus, whose files are
/// read side by side.
///
/// # Errors
/// If the text cannot be read.
pub fn piece_counts(corpus: &Corpus, tokenizer: &Tokenizer) -> Result<Vec<u64>> {
    let mut counts = vec![0; tokenizer.vocab_size()];
    let mut documents = corpus.documents(Some(0), 0);
    let mut read = 0;
    while read < COUNTED_BYTES {
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while bytes < PART_BYTES
            && let Some(document) = documents.next_document()?
        {
            bytes += document.iter().map(String::len).sum::<usize>();
            texts.extend(document);
        }
        if texts.is_empty() {
            break;
        }
        let ids: Result<Vec<Vec<u32>>> = texts
            .par_iter()
            .map(|text| Ok(tokenizer.ids_without_special_tokens(text)?))
            .collect();
        ids?.iter()
            .flatten()
            .for_each(|id| counts[*id as usize] += 1);
        read += bytes;
    }
    Ok(counts)
}

/// Returns the ids of the `size` pieces that remain, ascending: special tokens, single characters,
/// without which texts would become unknown, and the most frequent of the others.
///
/// # Errors
/// If there are fewer pieces, or more that must remain.
pub(super) fn remaining(
    tokenizer: &Tokenizer,
    added: &[u32],
    counts: &[u64],
    size: usize,
) -> Result<Vec<u32>> {
    let pieces = tokenizer.vocab_size();
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    for id in 0..pieces as u32 {
        let piece = tokenizer.id_to_token(id).unwrap_or_default();
        let text = piece.strip_prefix("##").unwrap_or(&piece);
        let text = text.strip_prefix('▁').unwrap_or(text);
        if added.contains(&id) || tokenizer.is_special(id) || text.chars().count() <= 1 {
            kept.push(id);
        } else {
            others.push(id);
        }
    }
    if !(kept.len()..=pieces).contains(&size) {
        return Err(Error::Setting {
            name: "vocabulary",
            expected: format!(
                "at most the tokenizer's {pieces} pieces, and at least its {} special tokens and \
                 single characters",
                kept.len()
            ),
            found: size.to_string(),
        });
    }
    others.sort_by_key(|id| std::cmp::Reverse(counts[*id as usize]));
    kept.extend(others.into_iter().take(size - kept.len()));
    kept.sort_unstable();
    Ok(kept)
}

/// Returns the ids of the tokens that a tokenizer.json lists apart from its model.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn added_tokens(files: &ModelFiles) -> Result<Vec<u32>> {
    let Some(bytes) = files.read("tokenizer.json")? else {
        return Ok(Vec::new());
    };
    let settings = json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let tokens = settings["added_tokens"].as_array().into_iter().flatten();
    let ids = tokens.filter_map(|token| u32::try_from(token["id"].as_u64()?).ok());
    Ok(ids.collect())
}

/// Returns the files of the tokenizer with the pieces `kept` alone, renumbered in their order.
///
/// # Errors
/// If the tokenizer is of a kind whose pieces cannot be removed.
pub(super) fn reduced(files: &ModelFiles, kept: &[u32]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut reduced = Vec::new();
    if let Some(bytes) = files.read("tokenizer.json")? {
        let mut settings = json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        reduce_settings(&mut settings, kept)?;
        let text = serde_json::to_string(&settings).expect("JSON was read from JSON");
        reduced.push(("tokenizer.json".into(), text.into_bytes()));
    }
    if let Some(bytes) = files.read("vocab.txt")? {
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let lines = kept.iter().filter_map(|id| lines.get(*id as usize));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        reduced.push(("vocab.txt".into(), text.into_bytes()));
    }
    if reduced.is_empty() {
        return Err(wrong("`spiece.model` alone".into()));
    }
    Ok(reduced)
}

fn wrong(found: String) -> Error {
    Error::Setting {
        name: "vocabulary",
        expected: "a tokenizer.json or vocab.txt with WordPiece or Unigram pieces".into(),
        found,
    }
}

/// Renumbers a tokenizer.json.
fn reduce_settings(settings: &mut Value, kept: &[u32]) -> Result<()> {
    let new_id = |id: u64| kept.binary_search(&u32::try_from(id).ok()?).ok();
    let model = &mut settings["model"];
    match &mut model["vocab"] {
        // WordPiece: pieces with their ids.
        Value::Object(vocabulary) => {
            let mut pieces: Vec<(usize, String)> = std::mem::take(vocabulary)
                .into_iter()
                .filter_map(|(piece, id)| Some((new_id(id.as_u64()?)?, piece)))
                .collect();
            pieces.sort_unstable();
            let pieces = pieces.into_iter().map(|(id, piece)| (piece, id.into()));
            *vocabulary = Map::from_iter(pieces);
        }
        // Unigram: pieces with their scores, in the order of ids.
        Value::Array(pieces) => {
            let mut index = 0;
            pieces.retain(|_| {
                index += 1;
                new_id(index - 1).is_some()
            });
            let unknown = model["unk_id"].as_u64().and_then(new_id);
            model["unk_id"] = unknown.map_or(Value::Null, Value::from);
        }
        _ => return Err(wrong("another kind of model".into())),
    }
    if let Some(added) = settings["added_tokens"].as_array_mut() {
        for token in added {
            let id = token["id"].as_u64().and_then(new_id);
            token["id"] = id.map_or(Value::Null, Value::from);
        }
    }
    let renumber = |id: &mut Value| {
        if let Some(new) = id.as_u64().and_then(new_id) {
            *id = new.into();
        }
    };
    let after = &mut settings["post_processor"];
    for pair in ["cls", "sep"] {
        if let Some(id) = after.get_mut(pair).and_then(|pair| pair.get_mut(1)) {
            renumber(id);
        }
    }
    if let Some(tokens) = after
        .get_mut("special_tokens")
        .and_then(Value::as_object_mut)
    {
        for token in tokens.values_mut() {
            if let Some(ids) = token["ids"].as_array_mut() {
                ids.iter_mut().for_each(renumber);
            }
        }
    }
    Ok(())
}
