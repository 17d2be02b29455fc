//! Text from elsewhere made fit for a terminal: what would act on it is shown instead.
//!
//! A status text may hold escape sequences, bells, line breaks, characters that turn the reading direction. On a
//! terminal each of them appears as the escape that Rust or JSON would write. Machine formats have their own escapes
//! and never come here.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with everything that would act on a terminal written as an escape.
pub fn visible(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(acts) else {
        return Cow::Borrowed(text);
    };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    for c in text[first..].chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if acts(c) => {
                write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("a String takes all it is given");
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether a character does something to a terminal, or to the text around it, rather than showing itself.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Direction marks, embeddings, overrides and isolates: they reorder what stands around them.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Breaks that some terminals take for a new line.
            | '\u{2028}' | '\u{2029}'
            // Invisible on their own, so that two different names look alike. The joiner U+200D stays: emoji need it.
            | '\u{00ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// How many terminal cells a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text cut to at most `cells` terminal cells, with `…` at the end where something is missing.
pub fn cut(text: &str, cells: usize) -> Cow<'_, str> {
    // Most text is short, and a byte takes at most one cell.
    let fits =
        text.len() <= cells || (text.len() <= cells.saturating_mul(8) && width(text) <= cells);
    if fits {
        return Cow::Borrowed(text);
    }
    let mut taken = 0;
    let mut end = 0;
    // What takes no cell is bounded too: a thousand accents on one letter, or a megabyte of control characters.
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
            assert!(matches!(visible(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn what_acts_is_shown() {
        assert_eq!(
            visible("a\u{1b}[31mred\u{7}\0 b\r\n\tc"),
            r"a\u{1b}[31mred\u{7}\u{0} b\r\n\tc"
        );
        assert_eq!(visible("\u{202e}evil\u{2066}"), r"\u{202e}evil\u{2066}");
        assert_eq!(visible("\u{9b}2J"), r"\u{9b}2J", "a C1 escape acts too");
        assert_eq!(visible("jo\u{200b}hn\u{2028}"), r"jo\u{200b}hn\u{2028}");
    }

    #[test]
    fn cutting_counts_cells_and_not_bytes() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello!", 5), "hell…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("x", 0), "…");
        let accents = format!("e{}", "\u{301}".repeat(1_000_000));
        assert!(cut(&accents, 10).len() < 100);
        assert!(cut(&"\0".repeat(1_000_000), 10).len() < 100);
    }
}
