//! Makes untrusted text safe for people: characters that control a terminal are written as escapes.
//!
//! A status text may contain terminal escapes, bells, line breaks, or characters that change the reading direction. All
//! text for people goes through this module: tables and human lines, TSV, CSV, `--jq` and `--raw` on a terminal,
//! messages and errors. Escaping twice changes nothing, so a part of a text may be escaped before it is shortened.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The maximal width of a word in a message, in cells. Hostile ids are longer; paths and addresses are shorter.
const MESSAGE_WORD_MAX: usize = 200;

/// The maximal width of a message, in cells.
const MESSAGE_MAX: usize = 4000;

/// The maximal width of a value that an error repeats, in cells.
const QUOTE_MAX: usize = 64;

/// Replaces each character that controls a terminal by an escape such as `\n` or `\u{1b}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    replace_unsafe(text, |c, out| match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => write_all(out, format_args!("\\u{{{:x}}}", u32::from(c))),
    })
}

/// Replaces each character that controls a terminal by a JSON escape, so that the value stays the same.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    replace_unsafe(json, |c, out| match c {
        // In JSON these occur only between tokens.
        '\n' | '\r' | '\t' => out.push(' '),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write_all(out, format_args!("\\u{unit:04x}"));
            }
        }
    })
}

/// The safe text of a message, error or hint: escaped, with long words shortened, and limited as a whole.
pub fn message(text: &str) -> String {
    // Truncating first saves work: a hostile value can be a megabyte long, and escaping makes it longer.
    let start = truncate(text, MESSAGE_MAX + 1);
    let escaped = escape(&start);
    let words: Vec<_> = escaped
        .split(' ')
        .map(|word| truncate(word, MESSAGE_WORD_MAX))
        .collect();
    truncate(&words.join(" "), MESSAGE_MAX).into_owned()
}

/// A value in an error message: escaped, and shortened.
pub fn quote(value: &str) -> String {
    let start = truncate(value, QUOTE_MAX);
    truncate(&escape(&start), QUOTE_MAX).into_owned()
}

fn replace_unsafe(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else {
        return Cow::Borrowed(text);
    };
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(&text[..first]);
    for c in text[first..].chars() {
        if is_unsafe(c) {
            replace(c, &mut safe);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn write_all(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes all it is given");
}

/// Whether a character controls a terminal or changes the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Direction marks, embeddings, overrides and isolates: they reorder the text around them.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Breaks that some terminals take for a new line.
            | '\u{2028}' | '\u{2029}'
            // Invisible on their own, so that two different names look alike. The joiner U+200D stays: emoji need it.
            | '\u{00ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The width of a text in terminal cells.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Shortens a text to at most `cells` terminal cells. `…` marks the missing rest.
pub fn truncate(text: &str, cells: usize) -> Cow<'_, str> {
    // Most texts are short, and a byte takes at most one cell.
    let fits =
        text.len() <= cells || (text.len() <= cells.saturating_mul(8) && width(text) <= cells);
    if fits {
        return Cow::Borrowed(text);
    }
    let mut taken = 0;
    let mut end = 0;
    // Characters without width are limited, too: a letter can have a thousand accents.
    for (at, c) in text.char_indices().take(cells.saturating_mul(4)) {
        let next = taken + c.width().unwrap_or(1);
        if next >= cells {
            break;
        }
        taken = next;
        end = at + c.len_utf8();
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_untouched() {
        for text in ["", "john", "Zoë 👩‍👩‍👧 日本語", "back\\slash"] {
            assert!(matches!(escape(text), Cow::Borrowed(_)), "{text}");
            assert!(matches!(escape_json(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn characters_that_act_on_a_terminal_are_escaped() {
        for (text, escaped) in [
            (
                "a\u{1b}[31mred\u{7}\0 b\r\n\tc",
                r"a\u{1b}[31mred\u{7}\u{0} b\r\n\tc",
            ),
            ("\u{202e}evil\u{2066}", r"\u{202e}evil\u{2066}"),
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            ("jo\u{200b}hn\u{2028}", r"jo\u{200b}hn\u{2028}"),
        ] {
            assert_eq!(escape(text), escaped);
            assert_eq!(escape(escaped), escaped, "twice is once");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let json = "\"a\u{9b}\u{202e}\u{e0001}é\"";
        let escaped = escape_json(json);
        assert_eq!(escaped, r#""a\u009b\u202e\udb40\udc01é""#);
        assert_eq!(
            serde_json::from_str::<String>(&escaped).unwrap(),
            serde_json::from_str::<String>(json).unwrap()
        );
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(message("no such user: a b"), "no such user: a b");
        let long = message(&format!("no user {} here", "x".repeat(200_000)));
        assert!(long.starts_with("no user xxx"));
        assert_eq!(width(&long), "no user ".len() + MESSAGE_WORD_MAX);
        let long = message(&format!("no user {} here", "x".repeat(500)));
        assert!(long.ends_with("x… here"));
        assert!(width(&message(&"a b ".repeat(100_000))) <= MESSAGE_MAX);
        assert!(width(&message(&"\u{1b}".repeat(100_000))) <= MESSAGE_MAX);
        assert_eq!(quote("amy\u{7}"), r"amy\u{7}");
        assert!(width(&quote(&"\u{202e}".repeat(100_000))) <= QUOTE_MAX);
    }

    #[test]
    fn truncating_counts_cells_and_not_bytes() {
        assert_eq!(truncate("hello", 5), "hello");
        assert_eq!(truncate("hello!", 5), "hell…");
        assert_eq!(truncate("日本語", 6), "日本語");
        assert_eq!(truncate("日本語", 5), "日本…");
        assert_eq!(truncate("日本語", 4), "日…");
        assert_eq!(truncate("x", 0), "…");
        let accents = format!("e{}", "\u{301}".repeat(1_000_000));
        assert!(truncate(&accents, 10).len() < 100);
        assert!(truncate(&"\0".repeat(1_000_000), 10).len() < 100);
    }
}
