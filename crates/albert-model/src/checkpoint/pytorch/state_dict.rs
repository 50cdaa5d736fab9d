//! Finds the dictionary with a model's tensors in a pickle.

use crate::checkpoint::pytorch::pickle::{Id, Pickle, Value};
use crate::checkpoint::pytorch::view::{View, is_tensor};
use crate::error::shown;

/// Keys under which training frameworks save a model's tensors: Lightning and Detoxify, StyleTTS 2,
/// fairseq, Kokoro.
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
/// The maximum nesting of wrappers.
const DEEPEST: usize = 4;
/// The maximum number of keys or classes that a message names.
const NAMED: usize = 8;

/// An entry of a model's dictionary.
#[derive(Debug, PartialEq)]
pub(super) enum Entry<'a> {
    Tensor(View<'a>),
    /// An object of this class or function, possibly an unsupported kind of tensor.
    Object(String),
}

/// A model's tensors by name, and the keys of the wrappers around them.
#[derive(Debug)]
pub(super) struct StateDict<'a> {
    pub(super) entries: Vec<(&'a str, Entry<'a>)>,
    pub(super) wrappers: Vec<&'a str>,
    /// The keys next to the innermost wrapper.
    pub(super) others: Vec<&'a str>,
}

type Pairs = [(Id, Id)];

impl<'a> StateDict<'a> {
    /// Finds the dictionary of the model's tensors.
    pub(super) fn find(pickle: &Pickle<'a>) -> Result<Self, String> {
        let Some(outer) = pickle.pairs(pickle.root()) else {
            return Err(match pickle.foreign(pickle.root()) {
                Some(class) => whole_model(&class),
                None => "expected a dictionary of tensors at the top, found something else".into(),
            });
        };
        let mut dict = outer;
        let (mut wrappers, mut others) = (Vec::new(), Vec::new());
        while wrappers.len() < DEEPEST
            && let Some((key, inner)) = wrapper(pickle, dict)
        {
            others = texts(pickle, dict).filter(|other| *other != key).collect();
            wrappers.push(key);
            dict = inner;
        }
        let mut entries = Vec::new();
        for (key, value) in dict {
            let Some(name) = pickle.text(*key) else {
                continue;
            };
            if is_tensor(pickle, *value) {
                let view = View::read(pickle, *value).ok_or_else(|| {
                    let name = shown(name);
                    format!("expected a tensor for `{name}`, found other arguments")
                })?;
                entries.push((name, Entry::Tensor(view)));
            } else if let Some(class) = pickle.foreign(*value) {
                entries.push((name, Entry::Object(class)));
            }
        }
        if entries
            .iter()
            .any(|(_, entry)| matches!(entry, Entry::Tensor(_)))
        {
            return Ok(Self {
                entries,
                wrappers,
                others,
            });
        }
        Err(without_tensors(pickle, dict))
    }
}

/// Returns the dictionary in which to look for tensors, if it is not `dict` itself: the one under a
/// known key, else the one with the most tensors.
fn wrapper<'a, 'p>(pickle: &'p Pickle<'a>, dict: &Pairs) -> Option<(&'a str, &'p Pairs)> {
    let tensors = |pairs: &Pairs| {
        let tensors = pairs.iter().filter(|(_, value)| is_tensor(pickle, *value));
        tensors.count()
    };
    // A loss may be next to the wrapper, and a part of a model may have the name of a wrapper.
    let own = tensors(dict);
    let inner: Vec<(&str, &Pairs)> = dict
        .iter()
        .filter_map(|(key, value)| Some((pickle.text(*key)?, pickle.pairs(*value)?)))
        .collect();
    let known = WRAPPERS.iter().find_map(|wrapper| {
        inner
            .iter()
            .find(|(key, pairs)| key == wrapper && (own == 0 || tensors(pairs) > 0))
    });
    if let Some(known) = known {
        return Some(*known);
    }
    let most = inner.iter().map(|(_, pairs)| tensors(pairs)).max()?;
    let mut fullest = inner.iter().filter(|(_, pairs)| tensors(pairs) == most);
    match (fullest.next(), fullest.next()) {
        (Some(only), None) if most > own => Some(*only),
        _ => None,
    }
}

/// Returns the message for a pickle without tensors, which names its objects first, as the likely
/// reason.
fn without_tensors(pickle: &Pickle<'_>, dict: &Pairs) -> String {
    let mut described = Vec::new();
    for (key, value) in dict.iter().take(NAMED) {
        let Some(key) = pickle.text(*key).map(shown) else {
            continue;
        };
        described.push(match pickle.foreign(*value) {
            Some(class) if WRAPPERS.contains(&key.as_str()) && is_model(&class) => {
                return whole_model(&class);
            }
            Some(class) => format!("`{key}` from `{class}`"),
            None => format!("`{key}`"),
        });
    }
    let closed = if described.iter().any(|entry| entry.contains("` from `")) {
        "; nothing in a file is executed"
    } else {
        ""
    };
    format!(
        "expected tensors by name, found a dictionary of {}{closed}",
        described.join(", ")
    )
}

fn is_model(class: &str) -> bool {
    !class.starts_with("numpy.") && !class.starts_with("collections.")
}

fn whole_model(class: &str) -> String {
    format!(
        "holds an object of the class `{class}`, as written by torch.save(model): expected a dictionary of tensors, \
         as torch.save(model.state_dict()) writes it; nothing in a file is executed"
    )
}

/// Returns some of the foreign classes and functions that a pickle names.
pub(super) fn foreign_names(pickle: &Pickle<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, value) in pickle.values().iter().enumerate() {
        if let Value::Foreign { .. } = value
            && let Some(name) = pickle.foreign(pickle.id(index))
            && !names.contains(&name)
        {
            names.push(name);
            if names.len() == NAMED {
                break;
            }
        }
    }
    names
}

fn texts<'a, 'p>(pickle: &'p Pickle<'a>, dict: &'p Pairs) -> impl Iterator<Item = &'a str> {
    dict.iter().filter_map(|(key, _)| pickle.text(*key))
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

    use super::*;
    use crate::checkpoint::pytorch::globals::Element;
    use crate::checkpoint::pytorch::view::{Storage, storages};

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
            .entries
            .into_iter()
            .map(|(name, entry)| match entry {
                Entry::Tensor(view) => (name.to_string(), view.shape),
                Entry::Object(class) => (format!("{name} from {class}"), Vec::new()),
            })
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
            element: Element::Read(Dtype::F32),
            elements: 7,
        };
        let expected = View {
            storage,
            offset: 1,
            shape: vec![2, 3],
            strides: vec![3, 1],
        };
        assert_eq!(found.entries, [("x", Entry::Tensor(expected))]);
        assert_eq!(storages(&pickle)["key"], storage);
    }

    #[test]
    fn a_storage_without_a_type_counts_bytes_and_the_tensor_has_the_type() {
        let tensor = tensor(
            "_rebuild_tensor_v3",
            "torch.storage UntypedStorage",
            14,
            b"ctorch\nbfloat16\n",
        );
        let bytes = [&b"}"[..], &text("x"), &tensor, b"s."].concat();
        let pickle = Pickle::read(&bytes).unwrap();
        let entries = StateDict::find(&pickle).unwrap().entries;
        let Entry::Tensor(View { storage, .. }) = entries[0].1 else {
            panic!("{entries:?}")
        };
        assert_eq!(
            (storage.element, storage.elements),
            (Element::Read(Dtype::BF16), 7)
        );
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
        // PyTorch's tutorial saves the loss, a tensor, next to the model's.
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
        // `model` is a name here, next to a tensor.
        assert_eq!(found(&[b"}(", &x, &text("model"), b"}u"]), expected);
        // Another key is one if it is the only one with tensors.
        assert_eq!(found(&[b"}", &text("weights"), b"}", &x, b"ss"]), expected);
        let several = found(&[
            b"}(",
            &text("a"),
            b"}",
            &x,
            b"s",
            &text("b"),
            b"}",
            &x,
            b"su",
        ]);
        assert_eq!(
            several.unwrap_err(),
            "expected tensors by name, found a dictionary of `a`, `b`"
        );
    }

    #[test]
    fn other_objects_are_named_next_to_tensors_and_alone_refused() {
        let x = [text("x"), tensor("_rebuild_tensor_v2", FLOAT, 7, b"")].concat();
        let y = [&text("y")[..], b"cposix\nsystem\n)R"].concat();
        assert_eq!(
            found(&[b"}(", &x, &y, b"u"]),
            Ok(vec![
                ("x".to_string(), vec![2, 3]),
                ("y from posix.system".to_string(), vec![])
            ])
        );
        assert_eq!(
            found(&[b"}(", &y, b"u"]).unwrap_err(),
            "expected tensors by name, found a dictionary of `y` from `posix.system`; nothing in a file is executed"
        );
        for whole in [
            &[&b"cm\nAlbertModel\n)\x81}b"[..]][..],
            &[b"}", &text("model"), b"cm\nAlbertModel\n)\x81}bs"],
        ] {
            let why = found(whole).unwrap_err();
            assert!(
                why.contains("`m.AlbertModel`") && why.contains("state_dict()"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_dictionary_of_another_class_is_one_too() {
        let x = [text("x"), tensor("_rebuild_tensor_v2", FLOAT, 7, b"")].concat();
        let expected = Ok(vec![("x".to_string(), vec![2, 3])]);
        assert_eq!(
            found(&[b"ccollections\ndefaultdict\n)R", &x, b"s"]),
            expected
        );
    }

    #[test]
    fn a_tensor_with_attributes_is_made_by_the_function_that_it_names() {
        let inner = tensor("_rebuild_tensor_v2", FLOAT, 7, b"");
        // (function, class, arguments, attributes); the inner tensor's arguments are its tuple.
        let arguments = &inner[b"ctorch._utils\n_rebuild_tensor_v2\n".len()..inner.len() - 1];
        let typed = [
            &b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n"[..],
            arguments,
            b"}tR",
        ]
        .concat();
        assert_eq!(
            found(&[b"}", &text("x"), &typed, b"s"]),
            Ok(vec![("x".to_string(), vec![2, 3])])
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
            assert_eq!(error, "expected a tensor for `x`, found other arguments");
        }
    }
}
