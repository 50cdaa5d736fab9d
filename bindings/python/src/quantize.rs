//! Embeddings in a byte or a bit per value.

use albert_tasks::{QuantizedVector, Ranges, VectorQuantizer};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::error::{invalid, raise};

/// Quantizes the rows of `vectors`. `int8` and `uint8` take the range of each dimension from the
/// rows of `samples`.
#[pyfunction]
#[pyo3(signature = (vectors, precision, samples))]
pub(crate) fn quantize<'py>(
    py: Python<'py>,
    vectors: PyReadonlyArray2<'py, f32>,
    precision: &str,
    samples: PyReadonlyArray2<'py, f32>,
) -> PyResult<Bound<'py, PyAny>> {
    let quantizer = match precision {
        "int8" => VectorQuantizer::int8(ranges(py, &samples)?),
        "uint8" => VectorQuantizer::uint8(ranges(py, &samples)?),
        "binary" => Ok(VectorQuantizer::binary()),
        "ubinary" => Ok(VectorQuantizer::ubinary()),
        _ => {
            let known = "float32, int8, uint8, binary, ubinary";
            return Err(invalid(format!(
                "unknown precision `{precision}`: expected one of {known}"
            )));
        }
    };
    let quantizer = quantizer.map_err(|error| raise(py, &error))?;
    let dim = vectors.as_array().ncols();
    let shape = [vectors.as_array().nrows(), quantizer.bytes(dim)];
    let vectors = rows(&vectors)?;
    if quantizer.is_signed() {
        let array = PyArray2::<i8>::zeros(py, shape, false);
        let mut written = array.readwrite();
        let written = written.as_slice_mut()?.chunks_exact_mut(shape[1].max(1));
        for (row, vector) in written.zip(vectors.chunks_exact(dim.max(1))) {
            if let QuantizedVector::I8(bytes) = quantized(py, &quantizer, vector)? {
                row.copy_from_slice(&bytes);
            }
        }
        return Ok(array.into_any());
    }
    let array = PyArray2::<u8>::zeros(py, shape, false);
    let mut written = array.readwrite();
    let written = written.as_slice_mut()?.chunks_exact_mut(shape[1].max(1));
    for (row, vector) in written.zip(vectors.chunks_exact(dim.max(1))) {
        if let QuantizedVector::U8(bytes) = quantized(py, &quantizer, vector)? {
            row.copy_from_slice(&bytes);
        }
    }
    Ok(array.into_any())
}

fn quantized(
    py: Python<'_>,
    quantizer: &VectorQuantizer,
    vector: &[f32],
) -> PyResult<QuantizedVector> {
    let bytes = quantizer.quantize(vector);
    bytes.map_err(|error| raise(py, &error))
}

fn ranges(py: Python<'_>, samples: &PyReadonlyArray2<'_, f32>) -> PyResult<Ranges> {
    let dim = samples.as_array().ncols();
    let mut ranges = Ranges::new(dim);
    for sample in rows(samples)?.chunks_exact(dim.max(1)) {
        ranges.add(sample).map_err(|error| raise(py, &error))?;
    }
    Ok(ranges)
}

fn rows<'a>(array: &'a PyReadonlyArray2<'_, f32>) -> PyResult<&'a [f32]> {
    Ok(array.as_slice()?)
}
