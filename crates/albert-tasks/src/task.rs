//! The functions that all tasks have.

/// Implements the functions that load a task, by its `from_model`.
macro_rules! impl_loading {
    ($task:ident) => {
        impl $task {
            /// Loads the model that `id` names: a folder, the built-in model or a model on the Hub.
            ///
            /// # Errors
            /// See [`ModelFiles::resolve`](crate::ModelFiles::resolve) and [`load`](Self::load).
            pub fn from_pretrained(id: &str) -> crate::Result<Self> {
                Self::load(
                    &crate::ModelFiles::resolve(id)?,
                    &crate::RunOptions::default(),
                )
            }

            /// Loads a model with its tokenizer.
            ///
            /// # Errors
            /// See [`SharedModel::new`](crate::SharedModel::new) and
            /// [`from_model`](Self::from_model).
            pub fn load(
                files: &crate::ModelFiles,
                options: &crate::RunOptions,
            ) -> crate::Result<Self> {
                Self::from_model(&crate::SharedModel::new(files, options)?)
            }
        }
    };
}

/// Implements access to the network and the tokenizer of a task with a `pipeline`.
macro_rules! impl_access {
    ($task:ident) => {
        impl $task {
            /// Returns the tokenizer.
            pub fn tokenizer(&self) -> &crate::Tokenizer {
                &self.pipeline.tokenizer
            }

            /// Returns the network's configuration.
            pub fn config(&self) -> &albert_model::AlbertConfig {
                self.pipeline.model.config()
            }
        }
    };
}

pub(crate) use {impl_access, impl_loading};
