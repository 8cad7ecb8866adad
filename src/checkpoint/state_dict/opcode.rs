//! The opcodes that `torch.save` writes, and the names of the others.

use crate::checkpoint::cursor::Cursor;
use crate::checkpoint::state_dict::pickle::{Refusal, Value};

/// An opcode that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Stop,
    Protocol,
    Mark,
    Put,
    LongPut,
    Get,
    LongGet,
    Global,
    Reduce,
    Build,
    PersistentId,
    /// Of so many values, or of those above the mark.
    Tuple(Option<usize>),
    Append,
    Appends,
    SetItem,
    SetItems,
    Literal(Literal),
}

/// An opcode that makes a value of nothing but what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    None,
    True,
    False,
    EmptyList,
    EmptyDict,
    Int,
    Int1,
    Int2,
    /// A length, then as many bytes of a number: two's complement.
    Long1,
    /// A length of four bytes, then UTF-8.
    Text,
}

const OPCODES: &[(u8, Opcode)] = &[
    (b'.', Opcode::Stop),
    (0x80, Opcode::Protocol),
    (b'(', Opcode::Mark),
    (b'q', Opcode::Put),
    (b'r', Opcode::LongPut),
    (b'h', Opcode::Get),
    (b'j', Opcode::LongGet),
    (b'c', Opcode::Global),
    (b'R', Opcode::Reduce),
    (b'b', Opcode::Build),
    (b'Q', Opcode::PersistentId),
    (b')', Opcode::Tuple(Some(0))),
    (0x85, Opcode::Tuple(Some(1))),
    (0x86, Opcode::Tuple(Some(2))),
    (0x87, Opcode::Tuple(Some(3))),
    (b't', Opcode::Tuple(None)),
    (b'a', Opcode::Append),
    (b'e', Opcode::Appends),
    (b's', Opcode::SetItem),
    (b'u', Opcode::SetItems),
    (b'N', Opcode::Literal(Literal::None)),
    (0x88, Opcode::Literal(Literal::True)),
    (0x89, Opcode::Literal(Literal::False)),
    (b']', Opcode::Literal(Literal::EmptyList)),
    (b'}', Opcode::Literal(Literal::EmptyDict)),
    (b'J', Opcode::Literal(Literal::Int)),
    (b'K', Opcode::Literal(Literal::Int1)),
    (b'M', Opcode::Literal(Literal::Int2)),
    (0x8a, Opcode::Literal(Literal::Long1)),
    (b'X', Opcode::Literal(Literal::Text)),
];

/// Names for errors: those that call or make something, and those that other writers use.
const REFUSED: &[(u8, &str)] = &[
    (b'i', "INST"),
    (b'o', "OBJ"),
    (0x81, "NEWOBJ"),
    (0x92, "NEWOBJ_EX"),
    (0x93, "STACK_GLOBAL"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (b'P', "PERSID"),
    (b'G', "BINFLOAT"),
    (b'F', "FLOAT"),
    (b'I', "INT"),
    (b'L', "LONG"),
    (0x8b, "LONG4"),
    (b'S', "STRING"),
    (b'T', "BINSTRING"),
    (b'U', "SHORT_BINSTRING"),
    (b'V', "UNICODE"),
    (b'B', "BINBYTES"),
    (b'C', "SHORT_BINBYTES"),
    (0x8c, "SHORT_BINUNICODE"),
    (0x8d, "BINUNICODE8"),
    (0x8e, "BINBYTES8"),
    (0x8f, "EMPTY_SET"),
    (0x90, "ADDITEMS"),
    (0x91, "FROZENSET"),
    (0x94, "MEMOIZE"),
    (0x95, "FRAME"),
    (0x96, "BYTEARRAY8"),
    (0x97, "NEXT_BUFFER"),
    (0x98, "READONLY_BUFFER"),
    (b'0', "POP"),
    (b'1', "POP_MARK"),
    (b'2', "DUP"),
    (b'd', "DICT"),
    (b'l', "LIST"),
    (b'g', "GET"),
    (b'p', "PUT"),
];

/// The opcode that `byte` is. `at` is where it stands, for the error.
pub fn read(byte: u8, at: usize) -> Result<Opcode, Refusal> {
    let known = OPCODES.iter().find(|(code, _)| *code == byte);
    known.map(|(_, opcode)| *opcode).ok_or_else(|| {
        let name = REFUSED.iter().find(|(code, _)| *code == byte).map_or("none", |(_, name)| name);
        Refusal {
            expected: "an opcode of those that a state dict of tensors is saved with".to_owned(),
            got: format!("{byte:#04x} ({name}) at byte {at}"),
        }
    })
}

impl Literal {
    /// `None` when the bytes end too soon or are not what they should be.
    pub fn read(self, cursor: &mut Cursor<'_>) -> Option<Value> {
        Some(match self {
            Self::None => Value::None,
            Self::True => Value::Bool(true),
            Self::False => Value::Bool(false),
            Self::EmptyList => Value::List(Vec::new()),
            Self::EmptyDict => Value::Dict(Vec::new()),
            Self::Int => Value::Integer(i32::from_le_bytes(cursor.array()?).into()),
            Self::Int1 => Value::Integer(cursor.u8()?.into()),
            Self::Int2 => Value::Integer(cursor.u16()?.into()),
            Self::Long1 => {
                let length = cursor.u8()?;
                Value::Integer(long(cursor.take(length.into())?)?)
            }
            Self::Text => {
                let length = usize::try_from(cursor.u32()?).ok()?;
                Value::Text(std::str::from_utf8(cursor.take(length)?).ok()?.to_owned())
            }
        })
    }
}

/// Two's complement, at most eight bytes.
fn long(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(word))
}
