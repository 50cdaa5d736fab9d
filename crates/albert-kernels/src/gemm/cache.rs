//! Detects the size of the second-level cache (L2).

use std::sync::OnceLock;

/// Assumed if the size is unknown: the size on Zen 2 and 3, and less than on most other CPUs.
const DEFAULT_BYTES: usize = 512 << 10;

/// Returns the size of a core's second-level cache in bytes; 512 KiB if the CPU does not report it.
pub(super) fn second_level_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| reported().unwrap_or(DEFAULT_BYTES))
}

/// Reads CPUID leaf 0x8000_0006, ECX bits 31 to 16, in KiB (the same in AMD's and Intel's manuals).
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "`__cpuid` is unsafe before Rust 1.94")]
fn reported() -> Option<usize> {
    use std::arch::x86_64::__cpuid;

    const EXTENDED: u32 = 0x8000_0000;
    const CACHES: u32 = 0x8000_0006;
    // SAFETY: every x86-64 CPU has the instruction.
    let highest = unsafe { __cpuid(EXTENDED) }.eax;
    if highest < CACHES {
        return None;
    }
    // SAFETY: as above.
    let kib = unsafe { __cpuid(CACHES) }.ecx >> 16;
    plausible((kib as usize) << 10)
}

#[cfg(not(target_arch = "x86_64"))]
fn reported() -> Option<usize> {
    None
}

/// Returns the size if it can be that of a second level: virtual machines may report 0, or the
/// third level.
#[cfg(target_arch = "x86_64")]
fn plausible(bytes: usize) -> Option<usize> {
    ((128 << 10)..=(16 << 20)).contains(&bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_of_some_cache() {
        let bytes = second_level_bytes();
        assert!(((128 << 10)..=(16 << 20)).contains(&bytes), "{bytes}");
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_size_that_no_second_level_has_is_ignored() {
        assert_eq!(plausible(0), None);
        assert_eq!(plausible(256 << 20), None);
        assert_eq!(plausible(512 << 10), Some(512 << 10));
    }
}
