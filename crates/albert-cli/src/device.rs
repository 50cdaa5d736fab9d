//! `--device` and `--dtype`: translates command line values to Candle's device and data type.

use std::str::FromStr;

use albert_model::WeightFormat;
use albert_model::candle_core::Device;
use anyhow::Context;
use clap::ValueEnum;

use crate::failure::Hint;

/// The requested device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DeviceChoice {
    /// CUDA, Metal or CPU: the first that the build supports and the machine has.
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(usize),
    /// The Apple GPU.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected auto, cpu, cuda, cuda:N or metal".to_string();
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Cuda(number)),
                _ => Err(expected()),
            },
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// If the build lacks the feature for the device, or the machine lacks the device.
    pub(crate) fn open(self) -> anyhow::Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => cuda(number),
            Self::Metal => metal(),
            Self::Auto => Ok(cuda(0).or_else(|_| metal()).unwrap_or(Device::Cpu)),
        }
    }
}

fn cuda(number: usize) -> anyhow::Result<Device> {
    if !cfg!(feature = "cuda") {
        return Err(absent_feature("cuda"));
    }
    Device::new_cuda(number).map_err(|error| match cuda_cause(&error.to_string()) {
        Some((cause, hint)) => anyhow::anyhow!("device `cuda:{number}`: {cause}").hint(hint),
        None => anyhow::Error::from(error)
            .context(format!("device `cuda:{number}`"))
            .hint("`nvidia-smi` shows whether a driver is installed and which devices it sees"),
    })
}

/// Returns the cause of a CUDA failure and the hint for it, by the status that CUDA's libraries or
/// their stubs report.
fn cuda_cause(status: &str) -> Option<(&'static str, &'static str)> {
    const CAUSES: [(&str, &str, &str); 5] = [
        (
            "CUDA_ERROR_STUB_LIBRARY",
            "the library of the NVIDIA driver, `libcuda.so.1`, was not found",
            "install the driver, or use `--device cpu`",
        ),
        (
            "CUDA_ERROR_NO_DEVICE",
            "the NVIDIA driver sees no GPU",
            "check `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use `--device cpu`",
        ),
        (
            "CUDA_ERROR_INVALID_DEVICE",
            "the NVIDIA driver has no GPU with this number",
            "`nvidia-smi -L` lists them, from 0 on",
        ),
        (
            "CUBLAS_STATUS_NOT_INITIALIZED",
            "cuBLAS, `libcublas.so.13` with `libcublasLt.so.13`, did not start",
            "set LD_LIBRARY_PATH to the folder of CUDA 13's libraries",
        ),
        (
            "CURAND_STATUS_INITIALIZATION_FAILED",
            "cuRAND, `libcurand.so.10`, did not start",
            "set LD_LIBRARY_PATH to the folder of CUDA 13's libraries",
        ),
    ];
    CAUSES
        .iter()
        .find(|(name, ..)| status.contains(name))
        .map(|&(_, cause, hint)| (cause, hint))
}

fn metal() -> anyhow::Result<Device> {
    if !cfg!(feature = "metal") {
        return Err(absent_feature("metal"));
    }
    Device::new_metal(0).context("cannot open the Metal device")
}

fn absent_feature(feature: &str) -> anyhow::Error {
    anyhow::anyhow!("device `{feature}`: this build lacks the `{feature}` feature").hint(format!(
        "build with `cargo build --release --features {feature}`, or use `--device cpu`"
    ))
}

/// The requested data type.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum DtypeChoice {
    /// On the CPU, int8 for int8 weights, such as the built-in model's; else f32
    Auto,
    /// 32-bit floats
    F32,
    /// 16-bit floats
    F16,
    /// 16-bit floats with the range of f32
    Bf16,
    /// 8-bit integers, on the CPU
    Int8,
}

impl From<DtypeChoice> for WeightFormat {
    fn from(choice: DtypeChoice) -> Self {
        match choice {
            DtypeChoice::Auto => Self::Auto,
            DtypeChoice::F32 => Self::F32,
            DtypeChoice::F16 => Self::F16,
            DtypeChoice::Bf16 => Self::BF16,
            DtypeChoice::Int8 => Self::Int8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_and_nonsense_is_refused() {
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        for bad in [
            "tpu",
            "",
            "cuda:",
            "cuda:-1",
            "cuda:x",
            "CPU",
            "cuda:99999999999999999999",
        ] {
            assert!(bad.parse::<DeviceChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_always_finds_a_device() {
        assert!(DeviceChoice::Auto.open().is_ok());
    }

    #[test]
    fn what_a_machine_lacks_is_told_from_the_status_of_the_driver() {
        let cause = |status| cuda_cause(status).map(|(cause, _)| cause);
        assert!(
            cause("DriverError(CUDA_ERROR_STUB_LIBRARY)")
                .unwrap()
                .contains("`libcuda.so.1`")
        );
        assert!(
            cause("CublasError(CUBLAS_STATUS_NOT_INITIALIZED)")
                .unwrap()
                .contains("libcublas.so.13")
        );
        assert_eq!(cause("DriverError(CUDA_ERROR_OUT_OF_MEMORY)"), None);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_names_the_feature() {
        let report =
            crate::failure::Report::new(&DeviceChoice::Cuda(0).open().unwrap_err()).unwrap();
        assert!(
            report.message.contains("`cuda` feature"),
            "{}",
            report.message
        );
        assert!(report.hint.unwrap().contains("--features cuda"));
        assert_eq!(report.code, 1);
    }
}
