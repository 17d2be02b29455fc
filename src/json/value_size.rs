//! How large and how deep a value of the interpreter is.
//!
//! Arrays and objects can share their parts, so a few steps can build a value whose text is larger than any memory, or
//! that is nested so deep that comparing, writing or dropping it exhausts the stack.

use std::fmt;

use jaq_json::{Num, Val};

/// The deepest nesting of a value that an expression builds.
const VALUE_DEPTH_MAX: usize = 256;
/// The largest value that an expression builds, in bytes of its text.
const VALUE_MAX_BYTES: usize = 64 << 20;
/// What a value counts, apart from its text or its parts.
const OVERHEAD_BYTES: usize = 8;

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Depth,
    Bytes,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth => write!(
                f,
                "it builds a value that is nested more than {VALUE_DEPTH_MAX} levels deep"
            ),
            Self::Bytes => write!(
                f,
                "it builds a value of more than {} MiB",
                VALUE_MAX_BYTES >> 20
            ),
        }
    }
}

/// The size of a value. A part that occurs twice counts twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ValueSize {
    /// As text, approximately.
    pub bytes: usize,
    /// How deep arrays and objects are nested. 0 for a value that is neither.
    pub depth: usize,
}

impl ValueSize {
    /// Measures a value. It takes time in proportion to the size, up to the limit.
    pub(super) fn of(value: &Val) -> Result<Self, Excess> {
        let mut size = Self::default();
        size.add(value, 0)?;
        Ok(size)
    }

    fn add(&mut self, value: &Val, depth: usize) -> Result<(), Excess> {
        self.bytes += OVERHEAD_BYTES;
        match value {
            Val::Null | Val::Bool(_) | Val::Num(Num::Int(_) | Num::Float(_)) => {}
            Val::Num(Num::Dec(text)) => self.bytes += text.len(),
            Val::Num(number @ Num::BigInt(_)) => self.bytes += integer_bits(number) / 3,
            Val::BStr(text) | Val::TStr(text) => self.bytes += text.len(),
            Val::Arr(items) => {
                let depth = deeper(depth)?;
                self.depth = self.depth.max(depth);
                items.iter().try_for_each(|item| self.add(item, depth))?;
            }
            Val::Obj(entries) => {
                let depth = deeper(depth)?;
                self.depth = self.depth.max(depth);
                entries.iter().try_for_each(|(key, value)| {
                    self.add(key, depth)?;
                    self.add(value, depth)
                })?;
            }
        }
        if self.bytes > VALUE_MAX_BYTES {
            return Err(Excess::Bytes);
        }
        Ok(())
    }
}

const fn deeper(depth: usize) -> Result<usize, Excess> {
    if depth < VALUE_DEPTH_MAX {
        Ok(depth + 1)
    } else {
        Err(Excess::Depth)
    }
}

/// The memory of a value without that of the values in it, in bytes, approximately.
pub(super) fn memory_bytes(value: &Val) -> usize {
    match value {
        Val::Null | Val::Bool(_) => 0,
        Val::Num(Num::Dec(text)) => text.len(),
        Val::Num(number) => integer_bits(number) / 8,
        Val::BStr(_) | Val::TStr(_) => 64 + extension_bytes(value),
        Val::Arr(_) => 128 + extension_bytes(value),
        Val::Obj(_) => 256 + extension_bytes(value),
    }
}

/// The memory by which a value extends another one that it is added to, in bytes, approximately.
pub(super) fn extension_bytes(value: &Val) -> usize {
    match value {
        Val::Null | Val::Bool(_) | Val::Num(_) => 0,
        Val::BStr(text) | Val::TStr(text) => text.len(),
        Val::Arr(items) => items.len() * size_of::<Val>(),
        Val::Obj(entries) => entries.len() * 4 * size_of::<Val>(),
    }
}

/// The bytes of a text; 0 for any other value.
pub(super) fn string_bytes(value: &Val) -> usize {
    match value {
        Val::BStr(text) | Val::TStr(text) => text.len(),
        Val::Null | Val::Bool(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) => 0,
    }
}

/// Whether nothing else refers to the memory of a value, so that an operation can extend it in place.
pub(super) fn is_unique(value: &Val) -> bool {
    match value {
        Val::Null | Val::Bool(_) | Val::Num(_) => true,
        Val::BStr(text) | Val::TStr(text) => text.is_unique(),
        Val::Arr(items) => jaq_json::Rc::strong_count(items) == 1,
        Val::Obj(entries) => jaq_json::Rc::strong_count(entries) == 1,
    }
}

/// The bits of an integer that is larger than the machine's; 0 for any other number.
pub(super) fn integer_bits(number: &Num) -> usize {
    match number {
        Num::BigInt(number) => usize::try_from(number.bits()).unwrap_or(usize::MAX),
        Num::Int(_) | Num::Float(_) | Num::Dec(_) => 0,
    }
}
