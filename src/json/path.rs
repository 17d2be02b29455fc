//! Finds the values at paths in JSON text without parsing the rest.
//!
//! [`find`] finds one value. [`FieldPath`] uses it for expressions that only name a field, such as `.user.id`. The
//! result is identical to the interpreter's. Cases that could differ are left to the interpreter: escapes that it would
//! rewrite, numbers with a decimal point, and fields of values that have none.
//!
//! [`FieldTree`] finds the values of all fields that an expression reads.

use memchr::{memchr_iter, memchr2};
use smallvec::{SmallVec, smallvec};

use super::projection::FieldNames;
use super::scanner::{Json, Malformed};

/// The result of following a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'j> {
    /// The value, as JSON text.
    Value(&'j str),
    /// Nothing: the object has no such field, or the array no such item.
    Nothing,
    /// Nothing: the value on the way has no fields or items.
    NotAContainer,
}

impl<'j> Found<'j> {
    /// The value, if there is one.
    pub(super) const fn value(self) -> Option<&'j str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::NotAContainer => None,
        }
    }
}

/// Finds the value at a path: through objects by name, through arrays by index. If a name occurs twice, the last one
/// counts.
///
/// # Errors
///
/// The text is not JSON.
pub(super) fn find<'j>(json: Json<'j>, path: &[String]) -> Result<Found<'j>, Malformed> {
    let mut found = Found::NotAContainer;
    let end = walk(json, json.blanks(0), path, &mut found)?;
    json.end(end)?;
    Ok(found)
}

fn walk<'j>(
    json: Json<'j>,
    at: usize,
    path: &[String],
    found: &mut Found<'j>,
) -> Result<usize, Malformed> {
    let Some((name, rest)) = path.split_first() else {
        let end = json.value(at)?;
        *found = Found::Value(json.slice(at, end));
        return Ok(end);
    };
    match json.peek(at) {
        Some(b'{') => {
            *found = Found::Nothing;
            json.object(at, |own, at| {
                if own == name.as_bytes() {
                    walk(json, at, rest, found)
                } else {
                    json.value(at)
                }
            })
        }
        Some(b'[') if let Ok(wanted) = name.parse::<usize>() => {
            *found = Found::Nothing;
            let mut index = 0;
            json.array(at, |at| {
                index += 1;
                if index - 1 == wanted {
                    walk(json, at, rest, found)
                } else {
                    json.value(at)
                }
            })
        }
        _ => {
            *found = Found::NotAContainer;
            json.value(at)
        }
    }
}

/// The fields that an expression reads, as a tree of their names.
#[derive(Debug, Default)]
pub(super) struct FieldTree {
    /// The number of the field with this path, if it is read.
    number: Option<usize>,
    children: Vec<(String, Self)>,
}

/// The values of the fields that an expression reads.
pub(super) type FoundFields<'j> = SmallVec<[Found<'j>; 4]>;

impl FieldTree {
    /// The tree of these fields, which are numbered in their order.
    pub(super) fn new(fields: &[FieldNames]) -> Self {
        let mut tree = Self::default();
        for (number, field) in fields.iter().enumerate() {
            let node = field.iter().fold(&mut tree, Self::child);
            node.number = Some(number);
        }
        tree
    }

    fn child(&mut self, name: &String) -> &mut Self {
        let known = self.children.iter().position(|(known, _)| known == name);
        let index = known.unwrap_or_else(|| {
            self.children.push((name.clone(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[index].1
    }

    /// Finds this many fields, in order.
    ///
    /// # Errors
    ///
    /// The text is not JSON.
    pub(super) fn find<'j>(
        &self,
        json: Json<'j>,
        count: usize,
    ) -> Result<FoundFields<'j>, Malformed> {
        let mut found = smallvec![Found::Nothing; count];
        let end = self.scan(json, json.blanks(0), &mut found)?;
        json.end(end)?;
        Ok(found)
    }

    fn scan<'j>(
        &self,
        json: Json<'j>,
        at: usize,
        found: &mut [Found<'j>],
    ) -> Result<usize, Malformed> {
        let end = if self.children.is_empty() {
            json.value(at)?
        } else if json.peek(at) == Some(b'{') {
            self.set_below(found, Found::Nothing);
            json.object(at, |name, at| {
                let mut children = self.children.iter();
                match children.find(|(own, _)| own.as_bytes() == name) {
                    Some((_, child)) => child.scan(json, at, found),
                    None => json.value(at),
                }
            })?
        } else {
            let end = json.value(at)?;
            let below = match json.slice(at, end) {
                "null" => Found::Nothing,
                _ => Found::NotAContainer,
            };
            self.set_below(found, below);
            end
        };
        if let Some(number) = self.number {
            found[number] = Found::Value(json.slice(at, end));
        }
        Ok(end)
    }

    /// Sets the fields below this one. If a name occurs twice in an object, the last one counts.
    fn set_below<'j>(&self, found: &mut [Found<'j>], value: Found<'j>) {
        for (_, child) in &self.children {
            if let Some(number) = child.number {
                found[number] = value;
            }
            child.set_below(found, value);
        }
    }
}

/// An expression that only names nested fields.
#[derive(Debug)]
pub(super) struct FieldPath(FieldNames);

impl FieldPath {
    /// The path of these names; `None` if [`find`] could take one for the index of an array.
    pub(super) fn new(names: FieldNames) -> Option<Self> {
        let is_index = |name: &String| name.parse::<usize>().is_ok();
        (!names.iter().any(is_index)).then_some(Self(names))
    }

    /// The names.
    pub(super) const fn names(&self) -> &FieldNames {
        &self.0
    }

    /// Finds the value at the path.
    ///
    /// # Errors
    ///
    /// The text is not JSON.
    pub(super) fn find<'j>(&self, json: Json<'j>) -> Result<Found<'j>, Malformed> {
        find(json, &self.0)
    }

    /// The value at the path, as the interpreter would print it; `None` if only the interpreter can tell.
    pub(super) fn evaluate<'j>(&self, json: &'j [u8]) -> Option<&'j str> {
        let text = std::str::from_utf8(json).ok()?;
        if has_half_surrogates(json) {
            return None;
        }
        match find(Json::new(text), &self.0).ok()? {
            Found::Value(value) => is_canonical(value).then_some(value),
            Found::Nothing => Some("null"),
            Found::NotAContainer => None,
        }
    }
}

/// Whether a text may contain half a surrogate pair. The interpreter rejects the whole record then.
pub(super) fn has_half_surrogates(json: &[u8]) -> bool {
    memchr_iter(b'\\', json).any(|at| matches!(json.get(at + 1..at + 3), Some([b'u', b'd' | b'D'])))
}

/// Whether the text of a value is the one that any JSON writer would produce.
fn is_canonical(value: &str) -> bool {
    match value.as_bytes() {
        b"true" | b"false" | b"null" | b"0" => true,
        [b'"', inner @ .., b'"'] => memchr2(b'\\', 0x7f, inner).is_none(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 15 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::Expr;
    use super::super::printing::{Printed, StringForm};
    use super::*;
    use crate::json::testing;
    use proptest::prelude::*;

    fn evaluate<'j>(path: &str, json: &'j str) -> Option<&'j str> {
        let names = path.split('.').skip(1).map(str::to_owned).collect();
        FieldPath::new(names).unwrap().evaluate(json.as_bytes())
    }

    #[test]
    fn what_is_there_is_answered_and_what_may_be_rewritten_is_not() {
        let json =
            r#"{"user":{"id":"jöhn","n":1.10,"k":17,"s":"a\tb"},"user2":5,"user":{"id":"jack"}}"#;
        assert_eq!(evaluate(".user.id", json), Some("\"jack\""));
        assert_eq!(evaluate(".user.n", json), Some("null"));
        assert_eq!(evaluate(".user2", json), Some("5"));
        assert_eq!(evaluate(".user2.id", json), None);
        assert_eq!(evaluate(".s", r#"{"s":"a\tb"}"#), None);
        assert_eq!(evaluate(".s", "{\"s\":\"a\u{7f}\"}"), None);
        assert_eq!(evaluate(".n", r#"{"n":1.10}"#), None);
        assert_eq!(evaluate(".n", r#"{"n":1,"m":"\ud800"}"#), None);
        assert_eq!(evaluate(".n", r#"{"n":1,}"#), None);
    }

    proptest! {
        /// The fast path and the full evaluator produce the same bytes or the same error.
        #[test]
        fn the_fast_path_agrees_with_the_full_evaluator(
            json in prop_oneof![testing::event(), testing::json()],
            path in prop::sample::select(vec![".user.id", ".type", ".user", ".a", ".a.b", ".status.a.b"]),
        ) {
            if let Some(short) = evaluate(path, &json) {
                // In parentheses it is the interpreter's.
                let long = Expr::compile(&format!("({path})")).unwrap();
                let long: Vec<_> = long.results(json.as_bytes(), StringForm::Quoted).collect();
                prop_assert_eq!(long, vec![Ok(Printed::Json(short.to_owned()))]);
            }
        }
    }
}
