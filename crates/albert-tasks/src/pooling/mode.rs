//! The names of the pooling modes.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::{Error, Result, names};

/// A method of pooling the vectors of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
    /// The first token's vector.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// The mean.
    Mean,
    /// The sum over the square root of the number of tokens.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, … by position.
    WeightedMean,
    /// The last token's vector, that of `[SEP]`.
    Last,
    /// The model's pooler: `tanh(W h + b)` of the first token's vector.
    Pooler,
}

impl PoolingMode {
    /// Every mode with its name.
    pub const ALL: [(PoolingMode, &'static str); 7] = [
        (PoolingMode::Mean, "mean"),
        (PoolingMode::Cls, "cls"),
        (PoolingMode::Max, "max"),
        (PoolingMode::Pooler, "pooler"),
        (PoolingMode::MeanSqrtLen, "mean-sqrt-len"),
        (PoolingMode::WeightedMean, "weighted-mean"),
        (PoolingMode::Last, "last"),
    ];
}

impl fmt::Display for PoolingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names::display(&Self::ALL, self, f)
    }
}

impl FromStr for PoolingMode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::parse("pooling", &Self::ALL, name)
    }
}

impl Serialize for PoolingMode {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (mode, name) in PoolingMode::ALL {
            assert_eq!(name.parse::<PoolingMode>().unwrap(), mode);
            assert_eq!(mode.to_string(), name);
        }
        let error = "average".parse::<PoolingMode>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown pooling `average`: expected one of mean, cls, max, pooler, mean-sqrt-len, weighted-mean, last"
        );
    }
}
