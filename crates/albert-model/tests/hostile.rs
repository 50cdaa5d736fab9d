//! No file makes a reader panic, or ask for more memory than the file's size justifies.
//!
//! Random bytes, and fixtures that were cut, spliced and changed, go through the readers while the
//! allocator counts. `fuzz/` does the same for longer with cargo-fuzz.

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::path::Path;

use albert_formats::crc32c::crc32c;
use albert_formats::tensorflow::{Index, IndexError};
use albert_model::{AlbertConfig, Checkpoint, LoadOptions};
use counting::{Counting, peak};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that opening may take at once for each byte of the file: what `checkpoint` promises. A
/// pickle that makes a list with every byte takes 65.
const FACTOR: usize = 128;

/// For messages, the list of what was chosen, and the program itself.
const ALLOWANCE: usize = 64 * 1024;

/// Bytes that loading may take for each byte of the file: four tensors may share bytes, each
/// widened from f16 to f32 and copied once on the way.
const LOADING_FACTOR: usize = 4 * 2 * 2 * 2;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fails if `work` on `len` bytes takes more than it may.
fn bounded<T>(len: usize, factor: usize, work: impl FnOnce() -> T) -> T {
    let (result, peak) = peak(work);
    assert!(
        peak <= len * factor + ALLOWANCE,
        "{peak} bytes for a file of {len}"
    );
    result
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(support::path("layouts").join(name)).unwrap()
}

/// Opens weights with a configuration and loads the result.
fn open(config: &str, weights: Vec<u8>) {
    let len = config.len() + weights.len();
    let opened = bounded(len, FACTOR, || {
        Checkpoint::from_bytes(config, weights, "weights")
    });
    if let Ok(checkpoint) = opened {
        // An error is an answer; what counts is the way there.
        drop(bounded(len, LOADING_FACTOR, || {
            checkpoint.var_map(&LoadOptions::default()).map(drop)
        }));
        drop(bounded(len, FACTOR, || checkpoint.report().map(drop)));
    }
}

fn config() -> String {
    String::from_utf8(fixture("bin-zip/config.json")).unwrap()
}

/// One way to damage a file.
#[derive(Debug, Clone)]
enum Damage {
    Set {
        at: prop::sample::Index,
        byte: u8,
    },
    Add {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    Remove {
        at: prop::sample::Index,
        len: usize,
    },
    Copy {
        from: prop::sample::Index,
        at: prop::sample::Index,
        len: usize,
    },
    Cut {
        at: prop::sample::Index,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    prop_oneof![
        8 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set { at, byte }),
        2 => (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Add { at, bytes }),
        2 => (any::<Index>(), 1..64usize).prop_map(|(at, len)| Damage::Remove { at, len }),
        2 => (any::<Index>(), any::<Index>(), 1..64usize).prop_map(|(from, at, len)| Damage::Copy { from, at, len }),
        1 => any::<Index>().prop_map(|at| Damage::Cut { at }),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match damage {
            Damage::Set { at, byte } => bytes[at.index(len)] = *byte,
            Damage::Add { at, bytes: more } => {
                let at = at.index(len);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Remove { at, len: count } => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Damage::Copy {
                from,
                at,
                len: count,
            } => {
                let from = from.index(len);
                let piece = bytes[from..len.min(from + count)].to_vec();
                let at = at.index(len);
                bytes.splice(at..at, piece);
            }
            Damage::Cut { at } => bytes.truncate(at.index(len)),
        }
    }
    bytes
}

/// Damage to the few thousand bytes of a file that say what the rest is: at one end of it.
fn damaged_within(mut bytes: Vec<u8>, part: std::ops::Range<usize>, damages: &[Damage]) -> Vec<u8> {
    let tail = bytes.split_off(part.end.min(bytes.len()));
    let middle = bytes.split_off(part.start.min(bytes.len()));
    [bytes, damaged(middle, damages), tail].concat()
}

/// The bytes of an archive's pickle, which its central directory leaves unchecked.
fn pickle_of(archive: &[u8]) -> std::ops::Range<usize> {
    let start = archive
        .windows(2)
        .position(|window| window == b"\x80\x02")
        .unwrap();
    let end = archive
        .windows(2)
        .position(|window| window == b"u." || window == b"b.")
        .unwrap();
    start..end + 2
}

/// The first block of an index, where its entries are.
fn entries_of(index: &[u8]) -> Vec<u8> {
    // The place of the index block stands second in the footer, that of the first block in its only
    // entry.
    let mut footer = &index[index.len() - FOOTER..];
    let places: Vec<usize> = (0..4).map(|_| varint(&mut footer)).collect();
    let mut entry = &index[places[2]..];
    let (key, value): (Vec<usize>, _) = ((0..3).map(|_| varint(&mut entry)).collect(), &mut entry);
    *value = &value[key[1]..];
    let (start, len) = (varint(value), varint(value));
    index[start..start + len].to_vec()
}

/// An index with this block of entries, all of its checksums right.
fn index_of(entries: &[u8]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut append = |block: &[u8]| {
        let place = [number(index.len()), number(block.len())].concat();
        let contents = [block, &[0]].concat();
        index.extend(&contents);
        index.extend(
            crc32c(&contents)
                .rotate_right(15)
                .wrapping_add(0xa282_ead8)
                .to_le_bytes(),
        );
        place
    };
    let place = append(entries);
    let block = [
        &[0, 1, place.len() as u8, b'z'][..],
        &place,
        &[0, 0, 0, 0, 1, 0, 0, 0],
    ]
    .concat();
    let mut footer = [&[0, 0][..], &append(&block)].concat();
    footer.resize(FOOTER - 8, 0);
    [
        index,
        footer,
        0xdb47_7524_8b80_fb57_u64.to_le_bytes().to_vec(),
    ]
    .concat()
}

const FOOTER: usize = 48;

fn varint(bytes: &mut &[u8]) -> usize {
    let len = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest;
    taken
        .iter()
        .rev()
        .fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f))
}

fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn read_index(index: Vec<u8>) -> Result<(), IndexError> {
    bounded(index.len(), FACTOR, || Index::read(&index).map(drop))
}

/// The start of a legacy file, up to the pickle of the object itself.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.\x80\x02";

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_checkpoint(bytes in vec(any::<u8>(), 0..2048)) {
        open(&config(), bytes.clone());
        drop(read_index(bytes.clone()));
        drop(read_index(index_of(&bytes)));
    }

    #[test]
    fn random_instructions_are_no_checkpoint(
        instructions in vec(prop::sample::select(&b"(0]})NtaeuRbQ.\x85\x86\x87\x94\x88h\x00q\x01K\x02ctorch\nFloatStorage\n"[..]), 0..4096),
    ) {
        open(&config(), [LEGACY, &instructions].concat());
    }

    #[test]
    fn damaged_archives_load_or_are_refused(damages in vec(damage(), 1..6)) {
        let archive = fixture("bin-zip/pytorch_model.bin");
        open(&config(), damaged(archive.clone(), &damages));
        let pickle = pickle_of(&archive);
        open(&config(), damaged_within(archive, pickle, &damages));
    }

    #[test]
    fn damaged_legacy_files_load_or_are_refused(damages in vec(damage(), 1..6)) {
        open(&config(), damaged_within(fixture("bin-legacy/pytorch_model.bin"), 0..9000, &damages));
        open(&config(), damaged_within(fixture("bin-noncontiguous-legacy/pytorch_model.bin"), 0..9000, &damages));
    }

    #[test]
    fn damaged_safetensors_load_or_are_refused(damages in vec(damage(), 1..6)) {
        open(&config(), damaged_within(fixture("safetensors-single/model.safetensors"), 0..8000, &damages));
    }

    #[test]
    fn damaged_indices_are_read_or_refused(damages in vec(damage(), 1..6)) {
        let index = fixture("google-tf/model.ckpt-best.index");
        drop(read_index(damaged(index.clone(), &damages)));
        drop(read_index(index_of(&damaged(entries_of(&index), &damages))));
    }

    #[test]
    fn damaged_configurations_are_read_or_refused(damages in vec(damage(), 1..6)) {
        for name in ["bin-zip/config.json", "kokoro/config.json"] {
            let text = damaged(fixture(name), &damages);
            let text = String::from_utf8_lossy(&text).into_owned();
            drop(bounded(text.len(), FACTOR, || AlbertConfig::from_json(&text)));
            open(&text, fixture("safetensors-single/model.safetensors"));
        }
    }

    #[test]
    fn damaged_yaml_is_read_or_refused(damages in vec(damage(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let text = damaged(fixture("plbert/config.yml"), &damages);
        std::fs::write(dir.path().join("config.yml"), &text).unwrap();
        std::fs::write(dir.path().join("x.t7"), "").unwrap();
        prop_assert!(bounded(text.len(), FACTOR, || Checkpoint::from_dir(dir.path())).is_err());
    }
}

#[test]
fn every_hostile_fixture_stays_within_bounds() {
    fn walk(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files)
            } else {
                files.push(path)
            }
        }
    }
    let mut files = Vec::new();
    walk(&support::path("layouts/hostile"), &mut files);
    assert!(files.len() > 50);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        open(&config(), bytes.clone());
        drop(read_index(bytes));
    }
}

#[test]
fn an_index_put_together_again_is_read() {
    let index = fixture("google-tf/model.ckpt-best.index");
    read_index(index.clone()).unwrap();
    read_index(index_of(&entries_of(&index))).unwrap();
}

/// Each is the worst case of a part of a reader, per byte.
#[test]
fn the_worst_that_a_byte_can_ask_for_stays_within_bounds() {
    const COUNT: usize = 200_000;
    for piece in [
        &b"]"[..],
        b")",
        b"}",
        b"(",
        b"N",
        b"K\x00",
        b"]\x94",
        b"N\x94",
        b"]\x85",
        b"(]t",
        b"]]a",
        b"}NNs",
    ] {
        open(&config(), [LEGACY, &piece.repeat(COUNT)].concat());
    }
    open(&config(), archive_of_empty_entries(20_000));
    // Names of 250 bytes, of which each entry but the first spells two.
    let first = [&[0, 0, 2, 0x08, 1, 0][..], &[250, 1, 0], &[b'a'; 250]].concat();
    let names = (0..20_000u16).flat_map(|name| {
        let [high, low] = [b' ' + (name >> 7) as u8 % 0x60, (name & 0x7f) as u8];
        [248, 1, 2, 0, high, low]
    });
    drop(read_index(index_of(
        &[first, names.collect(), vec![0; 4]].concat(),
    )));
    let arrays = format!("{{\"x\": [{}0]}}", "[],".repeat(COUNT));
    open(&arrays, Vec::new());
    let labels: Vec<_> = (0..COUNT / 10).map(|id| format!("\"{id}\":\"\"")).collect();
    open(
        &format!("{{\"id2label\": {{{}}}}}", labels.join(",")),
        Vec::new(),
    );
}

/// A zip archive with `count` entries of no bytes, all at the same place.
fn archive_of_empty_entries(count: u16) -> Vec<u8> {
    let mut archive = [
        &b"PK\x03\x04"[..],
        &[20, 0],
        &[0; 20],
        &[5, 0, 0, 0],
        b"a/b/c",
    ]
    .concat();
    let start = archive.len() as u32;
    for entry in 0..count {
        let name = format!("{entry:05}");
        archive.extend(
            [
                &b"PK\x01\x02"[..],
                &[20, 0, 20, 0],
                &[0; 20],
                &[5, 0],
                &[0; 16],
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let len = archive.len() as u32 - start;
    let (count, len, start) = (count.to_le_bytes(), len.to_le_bytes(), start.to_le_bytes());
    archive.extend(
        [
            &b"PK\x05\x06"[..],
            &[0; 4],
            &count,
            &count,
            &len,
            &start,
            &[0; 2],
        ]
        .concat(),
    );
    archive
}

/// A legacy file in which `count` tensors are the same `elements` numbers.
fn shared(count: usize, elements: u32) -> Vec<u8> {
    let text = |text: &str| {
        [
            &[b'X'][..],
            &(text.len() as u32).to_le_bytes(),
            text.as_bytes(),
        ]
        .concat()
    };
    let size = [&[b'J'][..], &elements.to_le_bytes()].concat();
    // ("storage", FloatStorage, "0", "cpu", elements, None), kept as value 0 of the memo.
    let storage = [
        &b"("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        &size,
        b"NtQq\x00",
    ];
    let mut file = [LEGACY, b"}(", &text("first"), &storage.concat(), b"0N"].concat();
    for tensor in 0..count {
        let arguments = [&b"(h\x00K\x00"[..], &size, b"\x85K\x01\x85\x89Nt"].concat();
        let name = text(&format!("albert.embeddings.{tensor}.weight"));
        file.extend(
            [
                &name[..],
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                &arguments,
                b"R",
            ]
            .concat(),
        );
    }
    file.extend(
        [
            &b"u.\x80\x02]"[..],
            &text("0"),
            b"a.",
            &u64::from(elements).to_le_bytes(),
        ]
        .concat(),
    );
    file.resize(file.len() + 4 * elements as usize, 0);
    file
}

#[test]
fn a_few_bytes_cannot_stand_for_many_tensors() {
    let few = Checkpoint::from_bytes(&config(), shared(3, 50_000), "weights").unwrap();
    assert_eq!(
        few.var_map(&LoadOptions::default())
            .unwrap()
            .all_vars()
            .len(),
        3
    );
    let error = Checkpoint::from_bytes(&config(), shared(5, 50_000), "weights")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected at most 4 times the size of the file"),
        "{error}"
    );
}
