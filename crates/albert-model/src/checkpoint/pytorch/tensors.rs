//! The tensors that a pickle speaks of, and the dictionary among its dictionaries that holds a
//! model's.

use std::collections::HashMap;

use safetensors::Dtype;

use crate::checkpoint::pytorch::globals::Global;
use crate::checkpoint::pytorch::pickle::{Id, Pickle, Value};
use crate::checkpoint::stored::element_len;
use crate::error::shown;

/// What trainers wrap the tensors in: Lightning and Detoxify, StyleTTS 2, fairseq, Kokoro.
const WRAPPERS: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "net",
    "model",
    "module",
    "bert",
    "albert",
    "plbert",
];
/// Wrappers inside wrappers that are looked into.
const DEEPEST: usize = 4;
/// More axes than any tensor of a model has.
const MOST_AXES: usize = 8;
/// How many keys an error names.
const KEYS_NAMED: usize = 8;

/// A tensor as a pickle describes it: a view of a storage.
#[derive(Debug, PartialEq)]
pub(super) struct View<'a> {
    pub(super) storage: Storage<'a>,
    /// Elements before the first.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) strides: Vec<usize>,
}

/// The numbers that tensors are views of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    /// Of that type.
    pub(super) elements: usize,
}

/// A model's tensors by name, and the keys of the wrappers around them.
#[derive(Debug)]
pub(super) struct StateDict<'a> {
    pub(super) tensors: Vec<(&'a str, View<'a>)>,
    pub(super) wrappers: Vec<&'a str>,
    /// What lies beside the innermost wrapper.
    pub(super) beside: Vec<&'a str>,
}

impl<'a> StateDict<'a> {
    /// Finds the dictionary of the model's tensors.
    pub(super) fn find(pickle: &Pickle<'a>) -> Result<Self, String> {
        let Value::Dict(outer) = pickle.value(pickle.root()) else {
            return Err("a dictionary of tensors at the top, found something else".into());
        };
        let mut dict = outer;
        let (mut wrappers, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..DEEPEST {
            let has_tensors =
                |dict: &[(Id, Id)]| dict.iter().any(|(_, value)| is_tensor(pickle, *value));
            // A loss may lie beside the wrapper, and a model's part be named like one.
            let opens = |inner: &[(Id, Id)]| has_tensors(inner) || !has_tensors(dict);
            let inner = WRAPPERS.iter().find_map(|wrapper| {
                dict.iter()
                    .find_map(|(key, value)| match pickle.value(*value) {
                        Value::Dict(inner)
                            if pickle.text(*key) == Some(wrapper) && opens(inner) =>
                        {
                            Some((*wrapper, inner))
                        }
                        _ => None,
                    })
            });
            let Some((wrapper, inner)) = inner else { break };
            beside = texts(pickle, dict).filter(|key| *key != wrapper).collect();
            wrappers.push(wrapper);
            dict = inner;
        }
        let mut tensors = Vec::new();
        for (key, value) in dict {
            if let (Some(name), true) = (pickle.text(*key), is_tensor(pickle, *value)) {
                let view = View::of(pickle, *value).ok_or_else(|| {
                    format!("a tensor for `{}`, found other arguments", shown(name))
                })?;
                tensors.push((name, view));
            }
        }
        if tensors.is_empty() {
            let keys: Vec<_> = texts(pickle, outer)
                .take(KEYS_NAMED)
                .map(|key| format!("`{}`", shown(key)))
                .collect();
            return Err(format!(
                "tensors by name, found a dictionary of {}",
                keys.join(", ")
            ));
        }
        Ok(Self {
            tensors,
            wrappers,
            beside,
        })
    }
}

fn texts<'a, 'p>(pickle: &'p Pickle<'a>, dict: &'p [(Id, Id)]) -> impl Iterator<Item = &'a str> {
    dict.iter().filter_map(|(key, _)| pickle.text(*key))
}

fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    use Global::{RebuildParameter, RebuildTensor, RebuildTensorV3};
    matches!(
        pickle.value(id),
        Value::Call(RebuildTensor | RebuildTensorV3 | RebuildParameter, _)
    )
}

impl<'a> View<'a> {
    fn of(pickle: &Pickle<'a>, id: Id) -> Option<Self> {
        let Value::Call(mut global, mut arguments) = *pickle.value(id) else {
            return None;
        };
        if global == Global::RebuildParameter {
            // A parameter is made from its tensor, and parameters are not made from parameters.
            let tensor = *pickle.items(arguments)?.first()?;
            let Value::Call(inner, its) = *pickle.value(tensor) else {
                return None;
            };
            (global, arguments) = (inner, its);
        }
        let arguments = pickle.items(arguments)?;
        let [storage, offset, shape, strides, ..] = *arguments else {
            return None;
        };
        let typed = match global {
            Global::RebuildTensor => None,
            Global::RebuildTensorV3 => match pickle.value(*arguments.get(6)?) {
                Value::Global(Global::Type(dtype)) => Some(*dtype),
                _ => return None,
            },
            _ => return None,
        };
        let axes = |id: Id| -> Option<Vec<usize>> {
            let sizes = pickle.items(id).filter(|sizes| sizes.len() <= MOST_AXES)?;
            sizes.iter().map(|size| pickle.count(*size)).collect()
        };
        let (shape, strides) = (axes(shape)?, axes(strides)?);
        let view = Self {
            storage: Storage::of(pickle, storage, typed)?,
            offset: pickle.count(offset)?,
            shape,
            strides,
        };
        (view.shape.len() == view.strides.len()).then_some(view)
    }
}

impl<'a> Storage<'a> {
    /// `("storage", class, key, device, elements)`, in the legacy form followed by a view that has
    /// been `None` for as long as there are ALBERTs.
    fn of(pickle: &Pickle<'a>, id: Id, typed: Option<Dtype>) -> Option<Self> {
        match *pickle.value(id) {
            Value::Persistent(name) => Self::named(pickle, name, typed),
            _ => None,
        }
    }

    fn named(pickle: &Pickle<'a>, id: Id, typed: Option<Dtype>) -> Option<Self> {
        let [kind, class, key, _, elements, ref view @ ..] = *pickle.items(id)? else {
            return None;
        };
        let whole = match view {
            [] => true,
            [view] => matches!(pickle.value(*view), Value::None),
            _ => false,
        };
        if pickle.text(kind) != Some("storage") || !whole {
            return None;
        }
        let (dtype, elements) = match (pickle.value(class), typed) {
            (Value::Global(Global::Storage(dtype)), None) => (*dtype, pickle.count(elements)?),
            // A storage without a type counts bytes.
            (Value::Global(Global::UntypedStorage), Some(dtype)) => {
                (dtype, pickle.count(elements)? / element_len(dtype))
            }
            _ => return None,
        };
        Some(Self {
            key: pickle.text(key)?,
            dtype,
            elements,
        })
    }
}

/// Every storage that says its own type, by its key, whether a tensor of the model needs it or not.
pub(super) fn storages<'a>(pickle: &Pickle<'a>) -> HashMap<&'a str, Storage<'a>> {
    let named = pickle.values().iter().filter_map(|value| match *value {
        Value::Persistent(id) => Storage::named(pickle, id, None),
        _ => None,
    });
    named.map(|storage| (storage.key, storage)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instruction that pushes a text.
    fn text(text: &str) -> Vec<u8> {
        [
            &[b'X'][..],
            &(text.len() as u32).to_le_bytes(),
            text.as_bytes(),
        ]
        .concat()
    }

    /// Instructions that push a tensor of two rows and three columns from element 1 on of a storage
    /// of `count`.
    fn tensor(rebuild: &str, class: &str, count: u8, more: &[u8]) -> Vec<u8> {
        let class = format!("c{}\n", class.replace(' ', "\n"));
        let storage = [
            &b"("[..],
            &text("storage"),
            class.as_bytes(),
            &text("key"),
            &text("cpu"),
            &[b'K', count],
            b"tQ",
        ];
        let rebuild = format!("ctorch._utils\n{rebuild}\n(");
        let view = b"K\x01K\x02K\x03\x86K\x03K\x01\x86\x89N";
        [rebuild.as_bytes(), &storage.concat(), view, more, b"tR"].concat()
    }

    fn found(instructions: &[&[u8]]) -> Result<Vec<(String, Vec<usize>)>, String> {
        let bytes = [&b"\x80\x02"[..], &instructions.concat(), b"."].concat();
        let pickle = Pickle::read(&bytes).unwrap();
        let found = StateDict::find(&pickle)?;
        Ok(found
            .tensors
            .into_iter()
            .map(|(name, view)| (name.to_string(), view.shape))
            .collect())
    }

    const FLOAT: &str = "torch FloatStorage";

    #[test]
    fn a_tensor_is_a_view_of_a_storage() {
        let bytes = [
            &b"}"[..],
            &text("x"),
            &tensor("_rebuild_tensor_v2", FLOAT, 7, b""),
            b"s.",
        ]
        .concat();
        let pickle = Pickle::read(&bytes).unwrap();
        let found = StateDict::find(&pickle).unwrap();
        let storage = Storage {
            key: "key",
            dtype: Dtype::F32,
            elements: 7,
        };
        let expected = View {
            storage,
            offset: 1,
            shape: vec![2, 3],
            strides: vec![3, 1],
        };
        assert_eq!(found.tensors, [("x", expected)]);
        assert_eq!(storages(&pickle)["key"], storage);
    }

    #[test]
    fn a_storage_without_a_type_counts_bytes_and_the_tensor_tells_the_type() {
        let tensor = tensor(
            "_rebuild_tensor_v3",
            "torch.storage UntypedStorage",
            14,
            b"ctorch\nbfloat16\n",
        );
        let bytes = [&b"}"[..], &text("x"), &tensor, b"s."].concat();
        let pickle = Pickle::read(&bytes).unwrap();
        let storage = StateDict::find(&pickle).unwrap().tensors[0].1.storage;
        assert_eq!((storage.dtype, storage.elements), (Dtype::BF16, 7));
    }

    #[test]
    fn wrappers_are_opened_until_there_are_tensors() {
        let x = [text("x"), tensor("_rebuild_tensor_v2", FLOAT, 7, b"")].concat();
        let expected = Ok(vec![("x".to_string(), vec![2, 3])]);
        assert_eq!(found(&[b"}", &x, b"s"]), expected);
        assert_eq!(found(&[b"}", &text("net"), b"}", &x, b"ss"]), expected);
        assert_eq!(
            found(&[
                b"}",
                &text("model"),
                b"}",
                &text("state_dict"),
                b"}",
                &x,
                b"sss"
            ]),
            expected
        );
        // PyTorch's tutorial saves the loss, a tensor, beside the model's.
        let loss = [text("loss"), tensor("_rebuild_tensor_v2", FLOAT, 7, b"")].concat();
        assert_eq!(
            found(&[
                b"}(",
                &text("model_state_dict"),
                b"}",
                &x,
                b"s",
                &loss,
                b"u"
            ]),
            expected
        );
        // `model` is a name here, beside a tensor.
        assert_eq!(found(&[b"}(", &x, &text("model"), b"}u"]), expected);
        let none = found(&[b"}", &text("weights"), b"}", &x, b"ss"]);
        assert_eq!(
            none.unwrap_err(),
            "tensors by name, found a dictionary of `weights`"
        );
    }

    #[test]
    fn a_dictionary_that_holds_itself_ends() {
        assert!(found(&[b"}q\x00", &text("model"), b"h\x00s"]).is_err());
    }

    #[test]
    fn other_arguments_are_no_tensor() {
        for tensor in [
            tensor("_rebuild_tensor_v3", FLOAT, 7, b"ctorch\nfloat32\n"),
            tensor("_rebuild_tensor_v3", "torch.storage UntypedStorage", 7, b""),
            tensor("_rebuild_tensor_v2", "torch.storage UntypedStorage", 7, b""),
            tensor("_rebuild_tensor_v2", "torch float32", 7, b""),
            b"ctorch._utils\n_rebuild_parameter\n)R".to_vec(),
            b"ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR".to_vec(),
        ] {
            let error = found(&[b"}", &text("x"), &tensor, b"s"]).unwrap_err();
            assert_eq!(error, "a tensor for `x`, found other arguments");
        }
    }
}
