//! The Python globals of which tensors are made. Any other global is only a name, which is never
//! used.

use safetensors::Dtype;

/// The globals of which tensors are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Size,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`, whose storage has no type.
    RebuildTensorV3,
    /// `torch._utils._rebuild_parameter`, `_rebuild_parameter_with_state` and the class of
    /// parameters: the first argument is the tensor.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a function, a class, and the function's arguments.
    RebuildFromType,
    /// A storage's class.
    Storage(Element),
    UntypedStorage,
    /// A type such as `torch.bfloat16`.
    Type(Element),
}

/// The type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// A supported type.
    Read(Dtype),
    /// An unsupported type, and the number of bytes of one element.
    Unread { name: &'static str, len: usize },
}

impl Element {
    /// Returns the number of bytes of one element.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Read(dtype) => dtype.bitsize().div_ceil(8),
            Self::Unread { len, .. } => len,
        }
    }
}

const fn unread(name: &'static str, len: usize) -> Element {
    Element::Unread { name, len }
}

const STORAGES: [(&str, Element); 17] = [
    ("FloatStorage", Element::Read(Dtype::F32)),
    ("HalfStorage", Element::Read(Dtype::F16)),
    ("BFloat16Storage", Element::Read(Dtype::BF16)),
    ("DoubleStorage", Element::Read(Dtype::F64)),
    ("LongStorage", Element::Read(Dtype::I64)),
    ("IntStorage", Element::Read(Dtype::I32)),
    ("ShortStorage", Element::Read(Dtype::I16)),
    ("CharStorage", Element::Read(Dtype::I8)),
    ("ByteStorage", Element::Read(Dtype::U8)),
    ("BoolStorage", Element::Read(Dtype::BOOL)),
    ("ComplexFloatStorage", unread("complex64", 8)),
    ("ComplexDoubleStorage", unread("complex128", 16)),
    ("QInt8Storage", unread("qint8", 1)),
    ("QUInt8Storage", unread("quint8", 1)),
    ("QInt32Storage", unread("qint32", 4)),
    ("QUInt4x2Storage", unread("quint4x2", 1)),
    ("QUInt2x4Storage", unread("quint2x4", 1)),
];

const TYPES: [(&str, Element); 28] = [
    ("float32", Element::Read(Dtype::F32)),
    ("float", Element::Read(Dtype::F32)),
    ("float16", Element::Read(Dtype::F16)),
    ("half", Element::Read(Dtype::F16)),
    ("bfloat16", Element::Read(Dtype::BF16)),
    ("float64", Element::Read(Dtype::F64)),
    ("double", Element::Read(Dtype::F64)),
    ("int64", Element::Read(Dtype::I64)),
    ("long", Element::Read(Dtype::I64)),
    ("int32", Element::Read(Dtype::I32)),
    ("int16", Element::Read(Dtype::I16)),
    ("int8", Element::Read(Dtype::I8)),
    ("uint8", Element::Read(Dtype::U8)),
    ("uint16", Element::Read(Dtype::U16)),
    ("uint32", Element::Read(Dtype::U32)),
    ("uint64", Element::Read(Dtype::U64)),
    ("bool", Element::Read(Dtype::BOOL)),
    ("complex32", unread("complex32", 4)),
    ("complex64", unread("complex64", 8)),
    ("complex128", unread("complex128", 16)),
    ("qint8", unread("qint8", 1)),
    ("quint8", unread("quint8", 1)),
    ("qint32", unread("qint32", 4)),
    ("float8_e4m3fn", unread("float8_e4m3fn", 1)),
    ("float8_e4m3fnuz", unread("float8_e4m3fnuz", 1)),
    ("float8_e5m2", unread("float8_e5m2", 1)),
    ("float8_e5m2fnuz", unread("float8_e5m2fnuz", 1)),
    ("float8_e8m0fnu", unread("float8_e8m0fnu", 1)),
];

impl Global {
    /// Returns the global with this name, if tensors are made of it.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        let typed = |table: &[(&str, Element)]| {
            table
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, element)| *element)
        };
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTensorV3,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch.storage", "UntypedStorage") => Self::UntypedStorage,
            ("torch", _) => match typed(&STORAGES) {
                Some(element) => Self::Storage(element),
                None => Self::Type(typed(&TYPES)?),
            },
            _ => return None,
        })
    }
}
