//! The options for the precision of written vectors.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::failure::{Hint, usage};

/// The precision of the written vectors.
#[derive(Debug, Args)]
#[command(next_help_heading = "Embedding")]
pub(crate) struct PrecisionArgs {
    /// Precision of the written vectors
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub(crate) precision: Precision,

    /// Sample texts, or their vectors (.npy), that calibrate int8 and uint8
    ///
    /// A few hundred are enough. Texts, in a table those of the field `text`, are embedded with the
    /// same options.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

/// A precision of written vectors.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Precision {
    /// 32-bit floats
    F32,
    /// 256 steps over the range of each dimension, from -128
    Int8,
    /// 256 steps over the range of each dimension, from 0
    Uint8,
    /// One bit per value, 1 above 0; eight to a byte, minus 128
    Binary,
    /// One bit per value, 1 above 0; eight to a byte
    Ubinary,
}

impl PrecisionArgs {
    /// Returns true if vectors are written as bytes.
    pub(crate) fn is_quantized(&self) -> bool {
        self.precision != Precision::F32
    }

    /// Checks that the options are consistent.
    ///
    /// # Errors
    /// If ranges are needed and no file is given, or a file is given and no ranges are needed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let needs_ranges = matches!(self.precision, Precision::Int8 | Precision::Uint8);
        match &self.calibration {
            None if needs_ranges => {
                Err(usage("`--precision int8` and `uint8` need `--calibration FILE`").hint(
                    "give a few hundred texts of the same kind, or their vectors in an npy file that `embed` wrote",
                ))
            }
            Some(_) if !needs_ranges => Err(usage("`--calibration` needs `--precision int8` or `uint8`")),
            Some(path) if path.as_os_str() == "-" => {
                Err(usage("`--calibration -`: expected a file, because standard input may hold the texts"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the file that the ranges come from.
    pub(crate) fn calibration(&self) -> Option<&Path> {
        self.calibration.as_deref()
    }
}
