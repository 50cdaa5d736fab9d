//! Reads LevelDB's sorted table, the format of a TensorFlow checkpoint's index.
//!
//! ```text
//! data block … | other blocks | index block | footer: places of the index block, magic number
//! block: entries | places of restarts, 4 bytes each | their count;   then its compression, its checksum
//! entry: bytes shared with the key before, further bytes of the key, length of the value | key | value
//! ```
//!
//! Keys have at most [`LONGEST_KEY`] bytes and blocks do not overlap, so shared prefixes multiply
//! the file's size at most by that number.
//!
//! Source: LevelDB, `doc/table_format.md`, `table/format.cc`, `table/block.cc`.

use crate::crc32c::{crc32c, unmask};
use crate::tensorflow::{IndexError, Result};
use crate::wire::{take, varint};

const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
const FOOTER: usize = 48;
/// The length of the trailer after each block: one byte for the compression, four for the checksum.
const TRAILER: usize = 5;
/// The maximum length of a key; names of ALBERT's and the optimizers' tensors have at most 90
/// bytes.
const LONGEST_KEY: u64 = 256;

type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'v;

/// Calls `visit` with every key and its value, in the order of the keys.
pub(super) fn for_each(bytes: &[u8], visit: &mut Visit<'_>) -> Result<()> {
    let Some(footer) = bytes.len().checked_sub(FOOTER).map(|start| &bytes[start..]) else {
        return Err(IndexError::malformed(format!(
            "expected at least {FOOTER} bytes, found {}",
            bytes.len()
        )));
    };
    if !footer.ends_with(&MAGIC) {
        return Err(IndexError::malformed(
            "expected the table's magic number at the end",
        ));
    }
    let mut rest = footer;
    // The first position is that of the metaindex block, which TensorFlow leaves empty.
    let place = place(&mut rest).and_then(|_| self::place(&mut rest));
    let index = block(bytes, place)?;
    let mut end = 0;
    let mut last_key = None;
    entries(index, &mut |_, place| {
        let place = self::place(&mut &*place);
        match place {
            Some((start, len)) if start >= end => end = start.saturating_add(len),
            _ => return Err(IndexError::malformed("expected blocks one after another")),
        }
        entries(block(bytes, place)?, &mut |key, value| {
            if last_key.as_deref().is_some_and(|last: &[u8]| last >= key) {
                return Err(IndexError::malformed("expected keys in order"));
            }
            last_key = Some(key.to_vec());
            visit(key, value)
        })
    })
}

/// Reads the position of a block: its first byte, and its length without the trailer.
fn place(rest: &mut &[u8]) -> Option<(usize, usize)> {
    let (start, len) = (varint(rest).ok()?, varint(rest).ok()?);
    Some((start.try_into().ok()?, len.try_into().ok()?))
}

/// Returns the contents of a block whose checksum is right.
fn block(bytes: &[u8], place: Option<(usize, usize)>) -> Result<&[u8]> {
    let whole = place.and_then(|(start, len)| bytes.get(start..)?.get(..len.checked_add(TRAILER)?));
    let Some((contents, checksum)) = whole.and_then(|whole| whole.split_last_chunk::<4>()) else {
        return Err(IndexError::malformed(
            "a block extends past the end of the file",
        ));
    };
    if unmask(u32::from_le_bytes(*checksum)) != crc32c(contents) {
        return Err(IndexError::malformed("the checksum of a block is wrong"));
    }
    match contents.split_last() {
        Some((0, contents)) => Ok(contents),
        Some((1, _)) => Err(IndexError::refused(
            "has blocks compressed with Snappy: expected them uncompressed",
        )),
        _ => Err(IndexError::refused(
            "has blocks with an unknown compression: expected them uncompressed",
        )),
    }
}

/// Calls `visit` with every entry of a block.
fn entries(block: &[u8], visit: &mut Visit<'_>) -> Result<()> {
    let malformed = || IndexError::malformed("expected a block of keys and values");
    let (rest, restarts) = block.split_last_chunk::<4>().ok_or_else(malformed)?;
    let restarts = u32::from_le_bytes(*restarts) as usize;
    let len = restarts
        .checked_mul(4)
        .and_then(|len| rest.len().checked_sub(len))
        .ok_or_else(malformed)?;
    let mut rest = &rest[..len];
    let mut key = Vec::new();
    while !rest.is_empty() {
        let value = entry(&mut rest, &mut key).ok_or_else(malformed)?;
        visit(&key, value)?;
    }
    Ok(())
}

/// Takes one entry: turns the previous key into its key, and returns its value.
fn entry<'a>(rest: &mut &'a [u8], key: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut length = || varint(rest).ok();
    let (shared, further, len) = (length()?, length()?, length()?);
    if shared > key.len() as u64 || shared.checked_add(further)? > LONGEST_KEY {
        return None;
    }
    key.truncate(shared as usize); // no longer than the key
    key.extend_from_slice(take(rest, further).ok()?);
    take(rest, len).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc32c::mask;

    /// Appends a block with its trailer, and gives its place as the table encodes it.
    fn append(table: &mut Vec<u8>, block: &[u8], compression: u8) -> Vec<u8> {
        assert!(table.len() < 128 && block.len() < 128, "one byte a number");
        let place = vec![table.len() as u8, block.len() as u8];
        let contents: Vec<u8> = block.iter().copied().chain([compression]).collect();
        let masked = mask(crc32c(&contents));
        table.extend(contents);
        table.extend(masked.to_le_bytes());
        place
    }

    fn table(compression: u8) -> Vec<u8> {
        let mut table = Vec::new();
        // "" to "header", "ab" to "1", "ac" to "2"
        let data = b"\0\0\x06header\0\x02\x01ab1\x01\x01\x01c2\0\0\0\0\x01\0\0\0";
        let place = append(&mut table, data, compression);
        let index = [&[0, 1, 2, b'z'][..], &place, &[0, 0, 0, 0, 1, 0, 0, 0]].concat();
        let place = append(&mut table, &index, 0);
        let mut footer = [&[0, 0][..], &place].concat();
        footer.resize(FOOTER - MAGIC.len(), 0);
        table.extend(footer);
        table.extend(MAGIC);
        table
    }

    fn read(bytes: &[u8]) -> Result<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Vec::new();
        for_each(bytes, &mut |key, value| {
            found.push((text(key), text(value)));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn keys_that_share_bytes_are_put_together() {
        let expected = [("", "header"), ("ab", "1"), ("ac", "2")];
        assert_eq!(
            read(&table(0)).unwrap(),
            expected.map(|(k, v)| (k.to_string(), v.to_string()))
        );
    }

    #[test]
    fn compressed_blocks_are_refused_by_name() {
        assert!(read(&table(1)).unwrap_err().to_string().contains("Snappy"));
        assert!(
            read(&table(7))
                .unwrap_err()
                .to_string()
                .contains("unknown compression")
        );
    }

    #[test]
    fn every_changed_byte_of_a_block_and_every_cut_is_noticed() {
        let whole = table(0);
        for at in 0..whole.len() - FOOTER {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "{at}");
        }
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }
}
