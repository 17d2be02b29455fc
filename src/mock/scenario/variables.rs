//! Variables in the text of a scenario: `${NAME}` and `${NAME:-default}`, in quotes or without.
//!
//! The YAML library replaces them by the rules of Docker Compose, which differ from ours in two points. A variable that
//! is not set would be empty there, and `$name` without braces would be a variable too, although it is part of many jq
//! expressions. So the text is rewritten first: `${NAME}` to `${NAME?}`, which requires a value, and `$` to `$$`.

use std::collections::HashMap;

/// A text that was rewritten, and where characters were added.
#[derive(Debug, Default)]
pub(super) struct RewrittenText {
    pub(super) text: String,
    /// The columns in the new text of the characters that were added, by line. Both count from 1.
    added: HashMap<u64, Vec<u64>>,
}

impl RewrittenText {
    /// Rewrites the variables in a text.
    pub(super) fn new(source: &str) -> Self {
        let mut rewritten = Self::default();
        let (mut line, mut column) = (1, 0);
        let mut rest = source;
        while let Some(c) = rest.chars().next() {
            column += 1;
            rewritten.text.push(c);
            rest = &rest[c.len_utf8()..];
            match c {
                '\n' => (line, column) = (line + 1, 0),
                // An escaped `$${` is kept.
                '$' if rest.starts_with("${") => {
                    rewritten.text.push_str("${");
                    column += 2;
                    rest = &rest[2..];
                }
                '$' => match rest.strip_prefix('{') {
                    None => column = rewritten.add('$', line, column),
                    Some(name) => {
                        let length = name
                            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                            .unwrap_or(name.len());
                        let (name, after) = name.split_at(length);
                        rewritten.text.push('{');
                        rewritten.text.push_str(name);
                        column += 1 + length as u64;
                        if after.starts_with('}') {
                            column = rewritten.add('?', line, column);
                        }
                        rest = after;
                    }
                },
                _ => {}
            }
        }
        rewritten
    }

    /// Adds a character that is not in the source after a column, and returns its own column.
    fn add(&mut self, c: char, line: u64, column: u64) -> u64 {
        self.text.push(c);
        self.added.entry(line).or_default().push(column + 1);
        column + 1
    }

    /// The column in the source of a place in the new text.
    pub(super) fn column_in_source(&self, line: u64, column: u64) -> u64 {
        let added = self.added.get(&line).map_or(&[][..], Vec::as_slice);
        let before = added.iter().filter(|place| **place < column).count();
        column - before as u64
    }
}

#[cfg(test)]
mod tests {
    use super::RewrittenText;

    #[test]
    fn required_variables_and_plain_dollars_are_rewritten() {
        for (source, text) in [
            ("a: ${NAME}", "a: ${NAME?}"),
            ("a: ${NAME:-x} ${B}", "a: ${NAME:-x} ${B?}"),
            ("a: $x | $$y $", "a: $$x | $$$$y $$"),
            ("a: $${NAME}", "a: $${NAME}"),
            ("é: ${", "é: ${"),
        ] {
            assert_eq!(RewrittenText::new(source).text, text);
        }
    }

    #[test]
    fn columns_are_those_of_the_source() {
        let rewritten = RewrittenText::new("x: 1\na: $b ${C} d");
        assert_eq!(rewritten.text, "x: 1\na: $$b ${C?} d");
        assert_eq!(rewritten.column_in_source(1, 4), 4);
        assert_eq!(rewritten.column_in_source(2, 4), 4);
        assert_eq!(rewritten.column_in_source(2, 6), 5);
        assert_eq!(rewritten.column_in_source(2, 14), 12);
    }
}
