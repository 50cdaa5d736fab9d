//! The instruction set that the kernels use: the best one of the CPU, or the requested one.

use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Kernel, Portable, Simd};

/// The environment variable that chooses an instruction set by name.
pub const INSTRUCTION_SET_VARIABLE: &str = "ALBERT_KERNELS";

/// An instruction set that this CPU supports.
///
/// ```
/// use albert_kernels::InstructionSet;
///
/// let portable = InstructionSet::from_name("portable")?;
/// assert!(InstructionSet::available().contains(&portable));
/// # Ok::<(), albert_kernels::InstructionSetError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstructionSet(Instructions);

/// Private, so that the CPU supports every [`InstructionSet`] that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// The name of an instruction set that this CPU does not support.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{source_name}`: expected an instruction set of this CPU ({}), found `{name}`",
    available_names()
)]
pub struct InstructionSetError {
    /// The environment variable that holds the name, or `instruction set`.
    source_name: &'static str,
    name: String,
}

impl InstructionSet {
    /// Returns the instruction sets of this CPU, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut instruction_sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if fma && avx512 && is_x86_feature_detected!("avx512vnni") {
                instruction_sets.push(Self(Instructions::Avx512Vnni));
            }
            if fma && avx512 {
                instruction_sets.push(Self(Instructions::Avx512));
            }
            let avx2 = is_x86_feature_detected!("avx2");
            if fma && avx2 && is_x86_feature_detected!("avxvnni") {
                instruction_sets.push(Self(Instructions::AvxVnni));
            }
            if fma && avx2 {
                instruction_sets.push(Self(Instructions::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            instruction_sets.push(Self(Instructions::Neon));
        }
        instruction_sets.push(Self(Instructions::Portable));
        instruction_sets
    }

    /// Returns the instruction set of this name: `avx512vnni`, `avx512`, `avxvnni`, `avx2`, `neon`
    /// or `portable`. VNNI multiplies bytes, so it does not change the f32 kernels.
    ///
    /// # Errors
    /// If the name is unknown, or the CPU lacks the instructions.
    pub fn from_name(name: &str) -> Result<Self, InstructionSetError> {
        let named = Self::available()
            .into_iter()
            .find(|instructions| instructions.to_string() == name);
        named.ok_or_else(|| InstructionSetError {
            source_name: "instruction set",
            name: name.into(),
        })
    }

    /// Returns the instruction set that the environment variable `ALBERT_KERNELS` names or, if it
    /// is not set, the fastest.
    ///
    /// The variable is read once, so that all weights of a process are packed for the same
    /// instruction set.
    ///
    /// # Errors
    /// See [`from_name`](Self::from_name).
    pub fn current() -> Result<Self, InstructionSetError> {
        static CURRENT: OnceLock<Result<InstructionSet, InstructionSetError>> = OnceLock::new();
        let choose = || match std::env::var_os(INSTRUCTION_SET_VARIABLE) {
            Some(name) if !name.is_empty() => {
                let named = Self::from_name(&name.to_string_lossy());
                named.map_err(|error| InstructionSetError {
                    source_name: INSTRUCTION_SET_VARIABLE,
                    ..error
                })
            }
            _ => Ok(Self::available()[0]),
        };
        CURRENT.get_or_init(choose).clone()
    }

    /// Runs a kernel that is compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni | Instructions::Avx512 => {
                // SAFETY: a value only exists if the CPU has the instructions.
                unsafe { Avx512::<false>::new() }.call(kernel)
            }
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni | Instructions::Avx2 => {
                // SAFETY: as above.
                unsafe { Avx2::<false>::new() }.call(kernel)
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => unsafe { Neon::new() }.call(kernel),
            Instructions::Portable => Portable.call(kernel),
        }
    }

    /// Runs a kernel that multiplies integers, with VNNI if this set has it.
    #[inline]
    pub(crate) fn run_integer<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: a value only exists if the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => unsafe { Avx512::<true>::new() }.call(kernel),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => unsafe { Avx2::<true>::new() }.call(kernel),
            _ => self.run(kernel),
        }
    }

    /// Returns the width of a panel of packed weights.
    pub(crate) fn panel_width(self) -> usize {
        self.run(TileSize).1
    }

    /// Returns [`Simd::SIGN_MAGNITUDE`].
    pub(crate) fn sign_magnitude(self) -> bool {
        self.run_integer(SignMagnitude)
    }

    /// Returns [`Simd::TILE_ROWS`].
    pub(crate) fn tile_rows(self) -> usize {
        self.run(TileSize).0
    }

    /// Returns [`Simd::INT8_TILE_ROWS`].
    pub(crate) fn int8_tile_rows(self) -> usize {
        self.run_integer(Int8TileRows)
    }
}

/// Returns [`Simd::SIGN_MAGNITUDE`].
struct SignMagnitude;

impl Kernel for SignMagnitude {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        S::SIGN_MAGNITUDE
    }
}

/// Returns [`Simd::INT8_TILE_ROWS`].
struct Int8TileRows;

impl Kernel for Int8TileRows {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::INT8_TILE_ROWS
    }
}

/// Returns the rows and columns of a tile.
struct TileSize;

impl Kernel for TileSize {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        (S::TILE_ROWS, S::PANEL_VECTORS * S::LANES)
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => "neon",
            Instructions::Portable => "portable",
        })
    }
}

fn available_names() -> String {
    let names: Vec<_> = InstructionSet::available()
        .iter()
        .map(|instructions| format!("`{instructions}`"))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_instruction_set_is_found_by_its_name() {
        for instructions in InstructionSet::available() {
            assert_eq!(
                InstructionSet::from_name(&instructions.to_string()),
                Ok(instructions)
            );
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known() {
        let error = InstructionSet::from_name("mmx").unwrap_err().to_string();
        assert!(
            error.contains("found `mmx`") && error.contains("`portable`"),
            "{error}"
        );
    }
}
