//! Random bits that are a function of a counter or a key, without any state.
//!
//! Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", SplitMix64;
//! constants of Stafford's variant 13.

/// 2⁶⁴ / φ, the step from one counter of SplitMix64 to the next.
pub const SPLIT_MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes 64 bits by the finalizer of SplitMix64, a bijection: every bit of the input changes every
/// bit of the output with probability ½.
pub fn split_mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the reference implementation, S. Vigna's `splitmix64.c`, from the seed
    /// 1234567.
    #[test]
    fn numbers_are_those_of_the_reference() {
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        for (step, expected) in (1..).zip(expected) {
            let counter = SPLIT_MIX_STEP.wrapping_mul(step).wrapping_add(1_234_567);
            assert_eq!(split_mix(counter), expected);
        }
    }
}
