//! The extension module `albert_candle._albert_candle`: the tasks of albert-tasks as classes of
//! Python.
//!
//! It computes and converts. Signatures, defaults and documentation are in the Python package
//! around it (`python/albert_candle`), which is the only caller. Every computation releases the
//! global interpreter lock, and handles signals between two steps ([`steps`]), and while a model is
//! downloaded ([`interrupt`]).

mod embedder;
mod error;
mod interrupt;
mod model;
mod pool;
mod quantize;
mod steps;
mod tasks;
mod texts;
mod tokenizer;

use pyo3::prelude::*;

#[pymodule]
mod _albert_candle {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::embedder::Embedder;
    #[pymodule_export]
    use crate::quantize::quantize;
    #[pymodule_export]
    use crate::tasks::{Answerer, Classifier, MaskFiller, Reranker, Tagger, ZeroShot};
    #[pymodule_export]
    use crate::tokenizer::Tokenizer;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::pool::disable_candle_threads(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("BUILTIN", albert_tasks::BUILTIN)
    }
}
