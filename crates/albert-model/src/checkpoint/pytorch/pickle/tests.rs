//! Pickles written by hand.

use super::operands::{decimal, whole_number};
use super::*;

fn trouble(bytes: &[u8]) -> String {
    match Pickle::read(bytes).unwrap_err() {
        Trouble::Malformed { at, why } => format!("{at}: {why}"),
        Trouble::Refused(why) => why,
    }
}

/// `pickle.dumps({"a": (1, [2, None]), "b": OrderedDict(c=-3)}, protocol=2)`, written by hand.
const SMALL: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01]q\x01(K\x02Ne\x86q\x02X\x01\x00\x00\x00bccollections\nOrderedDict\n)RX\x01\x00\x00\x00cJ\xfd\xff\xff\xffsu.rest";

#[test]
fn dictionaries_tuples_and_numbers_are_read() {
    let pickle = Pickle::read(SMALL).unwrap();
    assert_eq!(&SMALL[pickle.len..], b"rest");
    let Value::Dict(pairs) = pickle.value(pickle.root()) else {
        panic!("{pickle:?}")
    };
    assert_eq!(pickle.text(pairs[0].0), Some("a"));
    let tuple = pickle.items(pairs[0].1).unwrap();
    assert_eq!(pickle.count(tuple[0]), Some(1));
    assert_eq!(pickle.items(tuple[1]).unwrap().len(), 2);
    let Value::Dict(inner) = pickle.value(pairs[1].1) else {
        panic!("{pickle:?}")
    };
    assert!(matches!(pickle.value(inner[0].1), Value::Int(-3)));
    assert_eq!(pickle.count(inner[0].1), None);
}

#[test]
fn a_pickle_that_is_cut_short_is_malformed() {
    let whole = SMALL.len() - "rest".len();
    for length in 0..whole {
        assert!(
            matches!(
                Pickle::read(&SMALL[..length]),
                Err(Trouble::Malformed { .. })
            ),
            "{length}"
        );
    }
}

#[test]
fn other_globals_are_names_and_their_objects_stay_closed() {
    let foreign = |bytes: &[u8]| {
        let pickle = Pickle::read(bytes).unwrap();
        pickle.foreign(pickle.root())
    };
    for (bytes, name) in [
        (&b"\x80\x02cposix\nsystem\n."[..], "posix.system"),
        (
            b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.",
            "posix.system",
        ),
        (
            b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
            "builtins.eval",
        ),
        (b"cargparse\nNamespace\n)\x81}b.", "argparse.Namespace"),
        (b"cm\nC\n)}\x92.", "m.C"),
        (b"(im\nC\n.", "m.C"),
        (b"(cm\nC\nK\x01o.", "m.C"),
    ] {
        assert_eq!(foreign(bytes).as_deref(), Some(name), "{bytes:?}");
    }
    assert_eq!(foreign(b"K\x01."), None);
}

#[test]
fn an_object_filled_as_a_dictionary_has_its_pairs() {
    let pickle = Pickle::read(b"ccollections\ndefaultdict\n)RK\x01K\x02s(K\x03K\x04u.").unwrap();
    assert_eq!(pickle.pairs(pickle.root()).unwrap().len(), 2);
    // One filled as a list, and sets, keep nothing.
    for bytes in [
        &b"ccollections\ndeque\n)RK\x01a(K\x02e."[..],
        b"\x8f(K\x01\x90.",
        b"(K\x01\x91.",
        b"\x96\x02\x00\x00\x00\x00\x00\x00\x00ab.",
        b"\x8b\x01\x00\x00\x00\x05.",
    ] {
        let pickle = Pickle::read(bytes).unwrap();
        assert_eq!(pickle.pairs(pickle.root()), None, "{bytes:?}");
    }
}

#[test]
fn numbers_in_digits_are_those_of_protocol_1() {
    assert!(matches!(decimal("01"), Value::Bool(true)));
    assert!(matches!(decimal("-12"), Value::Int(-12)));
    assert!(matches!(decimal("1001L"), Value::Int(1001)));
    assert!(matches!(decimal("0.5"), Value::Other));
}

#[test]
fn other_instructions_are_refused_by_name() {
    assert!(trouble(b"\x80\x02\x82").contains("0x82 (`\\u{82}`) at byte 2"));
}

#[test]
fn the_stack_never_falls_below_a_mark_or_the_ground() {
    for bytes in [
        &b"."[..],
        b"K\x01(.",
        b"t.",
        b"K\x01(s.",
        b"\x85.",
        b"(K\x01u.",
        b"h\x01.",
        b"K\x01a.",
        b"R.",
    ] {
        assert!(
            matches!(Pickle::read(bytes), Err(Trouble::Malformed { .. })),
            "{bytes:?}"
        );
    }
}

#[test]
fn neither_depth_nor_cycles_nor_absurd_lengths_do_harm() {
    let deep = [&b"]"[..], &[0x85; 100_000], b"."].concat();
    assert!(Pickle::read(&deep).is_ok());
    assert!(Pickle::read(b"]q\x00h\x00a.").is_ok());
    assert!(trouble(b"X\xff\xff\xff\xff").contains("found the end"));
    assert!(trouble(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("found the end"));
    assert!(trouble(&vec![b']'; MOST_VALUES + 1]).contains("more than 524288 values"));
}

#[test]
fn a_list_copied_into_many_dictionaries_is_refused() {
    // The class, a pair of Nones and a list of that pair, each kept in the memo.
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\nq\x00NN\x86q\x01](".to_vec();
    for _ in 0..1000 {
        pickle.extend(b"h\x01");
    }
    pickle.extend(b"eq\x02");
    for _ in 0..1000 {
        pickle.extend(b"h\x00h\x02\x85R0");
    }
    pickle.extend(b".");
    assert!(
        trouble(&pickle).contains("more pairs than it has bytes"),
        "{}",
        trouble(&pickle)
    );
}

#[test]
fn long_numbers_keep_their_sign() {
    assert!(matches!(whole_number(&[]), Value::Int(0)));
    assert!(matches!(whole_number(&[0xff]), Value::Int(-1)));
    assert!(matches!(whole_number(&[0xff, 0]), Value::Int(255)));
    assert!(matches!(whole_number(&[0; 9]), Value::Long(_)));
}
